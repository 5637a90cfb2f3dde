import json

import pytest

from engine.errors import BrokenModel, ModelNotFound
from engine.model import load_model
from engine.volume import Label
from tests.engine.toy_model import write_manifest


def test_a_model_folder_says_what_it_is(toy):
    assert (toy.name, toy.version, toy.contract) == ("toy", "0.1", 1)
    assert toy.members == ("lenient", "strict")
    assert [kind.label for kind in toy.classes] == [Label.LIVER, Label.TUMOUR]
    assert toy.classes[0].type.value == "10200004"
    assert toy.working_spacing_mm == 1.75


def test_the_digest_changes_with_the_manifest_and_only_with_it(toy_folder):
    first = load_model(toy_folder).digest
    assert load_model(toy_folder).digest == first
    write_manifest(toy_folder, version="0.2")
    assert load_model(toy_folder).digest != first


def test_a_folder_without_a_manifest_is_no_model(tmp_path):
    with pytest.raises(ModelNotFound, match=r"no model\.json in .*nowhere"):
        load_model(tmp_path / "nowhere")


def test_a_changed_file_is_named_with_both_digests(toy_folder):
    expected = json.loads((toy_folder / "model.json").read_text())["files"]["ensemble.onnx"]
    with (toy_folder / "ensemble.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(BrokenModel, match=rf"ensemble\.onnx .* != {expected[:12]}…"):
        load_model(toy_folder)


def test_a_missing_file_is_named(toy_folder):
    (toy_folder / "reference.npz").unlink()
    with pytest.raises(BrokenModel, match=r"cannot read reference\.npz"):
        load_model(toy_folder)


@pytest.mark.parametrize("text", [b"{", b"\xff\xfe\xff", b""])
def test_a_manifest_that_is_no_json_is_refused(toy_folder, text):
    (toy_folder / "model.json").write_bytes(text)
    with pytest.raises(BrokenModel, match="is not JSON"):
        load_model(toy_folder)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"contract": 2, "shape": "new"}, "graph contract 2, this Hepar supports 1"),
        ({"colour": "red"}, "colour: Extra inputs are not permitted"),
        ({"working": {"spacing_mm": 0, "size": [256, 256]}}, r"working\.spacing_mm: .*greater"),
        ({"members": []}, "members: "),
        ({"files": {}}, "ensemble.onnx is missing from"),
        ({"files": {"../../secret": "0" * 64}}, r"'\.\./\.\./secret' is not a plain file name"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused_by_key(toy_folder, changes, complaint):
    write_manifest(toy_folder, **changes)
    with pytest.raises(BrokenModel, match=complaint):
        load_model(toy_folder)


def test_a_manifest_that_is_no_table_is_refused(toy_folder):
    (toy_folder / "model.json").write_text("[]")
    with pytest.raises(BrokenModel, match="manifest: "):
        load_model(toy_folder)


def test_the_default_model_is_whole(base):
    assert base.name == "base"
    assert base.members
    assert base.manifest.data
