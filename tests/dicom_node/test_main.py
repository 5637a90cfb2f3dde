import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from dicom_node import main

WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
from dicom_node.main import build
print([group.name for group in build().registered_commands])
"""


def test_a_node_without_torch_has_no_train_and_all_of_the_rest():
    said = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH], capture_output=True, text=True, check=True
    ).stdout
    assert "'serve'" in said
    assert "'train'" not in said


def test_a_package_that_cannot_do_without_what_is_missing_is_an_error(monkeypatch):
    broken = EntryPoint("x", "engine.absent:register", main.GROUP)
    monkeypatch.setattr(main, "entry_points", lambda group: [broken])
    with pytest.raises(ModuleNotFoundError, match=r"engine\.absent"):
        main.build()


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["serve", "--config", "/absent.toml"], 2, "error: cannot read /absent.toml"),
        (["serve", "--model", "/absent"], 1, "error: no model.json in /absent"),
        (["send", "/", "nobody"], 2, "error: no peer 'nobody', only folder"),
    ],
)
def test_an_error_on_purpose_is_one_line_and_an_exit_status(
    words, status, said, monkeypatch, capsys, tmp_path
):
    monkeypatch.setenv("HEPAR_NODE__DATA", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "argv", ["hepar", *words])
    monkeypatch.setattr("dicom_node.commands.serve.start_logging", lambda: None)
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == status
    assert said in capsys.readouterr().err.replace("\n", " ")
