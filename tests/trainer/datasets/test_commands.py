"""`hepar dataset` as it is called from a shell."""

import pytest
import typer
from typer.testing import CliRunner

from trainer.datasets.commands import _from_day, app


def test_a_day_becomes_a_range_that_is_open_at_its_end():
    assert _from_day("2026-01-31") == "20260131-"


def test_a_day_that_is_none_is_refused_before_anything_is_asked_of_the_archive(tmp_path):
    with pytest.raises(typer.BadParameter, match="2026-02-31"):
        _from_day("2026-02-31")
    options = ["http://127.0.0.1:9", "--output", str(tmp_path / "out"), "--since", "yesterday"]
    result = CliRunner().invoke(app, ["pull", *options])
    assert result.exit_code == 2
    assert "yesterday" in result.output
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_not_there_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a long path would be broken over two lines of the message
    result = CliRunner().invoke(app, ["check", "absent"])
    assert result.exit_code == 2
    assert "absent" in result.output
