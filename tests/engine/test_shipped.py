"""Models that ship with Hepar, by name."""

from pathlib import Path

import pytest

from engine.acceptance.reference import check_reference
from engine.model import MANIFEST, default_model_folder, load_model
from engine.serving.cpu import open_device
from engine.shipped import model_folder, shipped_models

MOST_BYTES = 30_000_000
"""Of all graphs together: they travel with every installation."""


def test_the_default_model_comes_first():
    assert next(iter(shipped_models().items())) == ("base", default_model_folder())
    assert model_folder(None) == default_model_folder()


@pytest.mark.parametrize("name", shipped_models())
def test_a_shipped_model_is_whole_and_named_as_its_folder(name):
    model = load_model(model_folder(Path(name)))
    assert model.name == name
    assert model.manifest.data
    assert model.manifest.evaluation["held_out_patients"]
    assert model.manifest.domain
    assert f"# Model card: {name} {model.version}" in (model.folder / "MODEL_CARD.md").read_text()


@pytest.mark.parametrize("name", shipped_models())
def test_the_processor_answers_as_a_shipped_model_demands(name):
    model = load_model(shipped_models()[name])
    check_reference(model, open_device(model, threads=1))


def test_shipped_models_together_stay_small():
    graphs = [load_model(folder).graph for folder in shipped_models().values()]
    assert sum(path.stat().st_size for path in graphs) < MOST_BYTES


def test_a_shipped_name_wins_over_a_folder_of_that_name(tmp_path, monkeypatch):
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / MANIFEST).write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert model_folder(Path("base")) == default_model_folder()
    assert model_folder(tmp_path / "base") == tmp_path / "base"


def test_any_other_path_stays_as_it_is():
    assert model_folder(Path("runs/fast/model")) == Path("runs/fast/model")
