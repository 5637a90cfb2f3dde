"""The model that serves: the configuration's, or one that was promoted in its place."""

from pathlib import Path

import pytest

from dicom_node.data_folder import DataFolder
from dicom_node.errors import BadConfiguration
from dicom_node.shadow.promotion import promote, roll_back, served_folder
from engine.errors import BrokenModel
from engine.model import load_model
from tests.engine.toy_model import write_manifest, write_toy_model


@pytest.fixture
def data(tmp_path):
    return DataFolder(tmp_path / "data")


@pytest.fixture
def models(tmp_path):
    """Folders of a first model, a second and a third."""
    names = "first", "second", "third"
    for name in names:
        write_manifest(write_toy_model(tmp_path / name), name=name)
    return [tmp_path / name for name in names]


def served(configured: Path, data: DataFolder) -> str:
    return load_model(served_folder(configured, data)).name


def test_a_promoted_model_serves_whatever_becomes_of_its_folder(data, models):
    first, second, _ = models
    assert served(first, data) == "first"
    promote(load_model(second), first, data)
    second.rename(second.with_name("elsewhere"))
    assert served(first, data) == "second"


def test_a_rollback_goes_back_and_twice_undoes(data, models):
    first, second, third = models
    promote(load_model(second), first, data)
    promote(load_model(third), first, data)
    served_then = []
    for _ in range(3):
        roll_back(first, data)
        served_then.append(served(first, data))
    assert served_then == ["second", "third", "second"]


def test_the_first_rollback_is_back_at_the_configured_model(data, models):
    first, second, _ = models
    promote(load_model(second), first, data)
    roll_back(first, data)
    assert served(first, data) == "first"


def test_a_change_of_the_configuration_holds(data, models):
    first, second, third = models
    promote(load_model(second), first, data)
    assert served(third, data) == "third"
    with pytest.raises(BadConfiguration, match="no model was promoted"):
        roll_back(third, data)


def test_only_the_one_before_is_kept(data, models):
    first, second, third = models
    promote(load_model(second), first, data)
    promote(load_model(third), first, data)
    promote(load_model(second), first, data)
    kept = sorted(each.name.split("-")[0] for each in data.models.iterdir() if each.is_dir())
    assert kept == ["second", "third"]


def test_a_damaged_record_is_named(data, models):
    promote(load_model(models[1]), models[0], data)
    (data.models / "serving.json").write_text('{"serving": ')
    with pytest.raises(BadConfiguration, match="remove it to serve"):
        served_folder(models[0], data)
    (data.models / "serving.json").write_text(
        '{"configured": "", "serving": "../x", "previous": ""}'
    )
    with pytest.raises(BadConfiguration, match="cannot be read"):
        served_folder(None, data)


def test_a_promoted_model_that_is_gone_or_damaged_is_named(data, models):
    first, second, _ = models
    made = promote(load_model(second), first, data)
    roll_back(first, data)
    (data.models / made.serving / "ensemble.onnx").write_bytes(b"cut off")
    with pytest.raises(BrokenModel):
        roll_back(first, data)
    assert served(first, data) == "first"
    promote(load_model(second), first, data)  # copied anew
    assert served(first, data) == "second"
    (data.models / made.serving).rename(data.models / "elsewhere")
    with pytest.raises(BadConfiguration, match="hepar model rollback"):
        served_folder(first, data)
