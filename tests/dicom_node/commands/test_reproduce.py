"""`hepar reproduce`: equal, or what differs."""

import json
import re
from dataclasses import replace

import pytest
from pydicom import dcmread

from dicom_node.config.settings import load_settings
from dicom_node.errors import BadConfiguration
from dicom_node.node.startup import to_fleet
from dicom_node.node.warm_up import to_segmenter
from dicom_node.pipeline.process import process
from dicom_node.results.objects import SEG, Encoding, ObjectKind, ResultObject, SegForm
from tests.dicom_node.commands.test_commands import hepar, toy_folder, write_liver
from tests.engine.toy_model import write_manifest, write_toy_model

__all__ = ["hepar", "toy_folder", "write_liver"]


@pytest.fixture
def sources(write_liver):
    return write_liver()


@pytest.fixture
def seg(hepar, sources, toy_folder, tmp_path):
    hepar("segment", sources, "-o", tmp_path / "out", "-m", toy_folder)
    (seg,) = (tmp_path / "out").iterdir()
    return seg


@pytest.fixture
def reproduce(hepar, seg, sources, toy_folder):
    def run(*words, seg=seg, model=toy_folder, status=0):
        model = ("-m", model) if model else ()
        return hepar("reproduce", seg, "--sources", sources, *model, *words, status=status)

    return run


def change(file, **attributes):
    instance = dcmread(file)
    for keyword, value in attributes.items():
        setattr(instance, keyword, value)
    instance.save_as(file)


def test_a_result_is_reproduced_from_the_series_that_it_names(reproduce, sources):
    said = reproduce()
    assert "with the same model" in said
    assert said.endswith("equal\n")
    pixels = dcmread(sources / "4.dcm").pixel_array.copy()
    pixels[10:12, 10:40] = 0
    change(sources / "4.dcm", PixelData=pixels.tobytes())
    said = reproduce(status=1)
    assert re.search(r"^Liver: 60 of \d+ voxels differ", said, re.MULTILINE)
    assert "equal" not in said
    (sources / "4.dcm").unlink()
    with pytest.raises(BadConfiguration, match="1 of 8 source instances are not in"):
        reproduce()
    with pytest.raises(BadConfiguration, match="is not a SEG of Hepar"):
        reproduce(seg=sources / "0.dcm")


def test_a_corrected_patient_is_named_as_a_difference_without_the_name(reproduce, sources):
    for file in sources.iterdir():
        change(file, PatientName="CORRECTED^NAME")
    said = reproduce()
    assert "other attributes that differ: Patient's Name\n" in said
    assert said.endswith("equal in every voxel\n")
    assert "CORRECTED" not in said


def test_a_segment_that_is_there_no_more_is_a_difference(reproduce, sources):
    for file in sources.iterdir():
        pixels = dcmread(file).pixel_array.copy()
        pixels[20:30, 20:30] = pixels[12, 12]
        change(file, PixelData=pixels.tobytes())
    assert "Tumour: 800 of 800 voxels differ" in reproduce(status=1)
    told = reproduce("--json", status=1)
    told = json.loads(told[told.index("{") :])  # after a line of standard error
    assert not told["equal"]
    assert {"label": "Tumour", "voxels": 800, "differing": 800} in told["segments"]


def test_another_model_is_named(reproduce, toy_folder, tmp_path):
    other = write_toy_model(tmp_path / "other")
    write_manifest(other, version="0.2")
    said = reproduce(model=other)
    assert "with another model (" in said
    assert "Device Serial Number" in said
    assert said.endswith("equal in every voxel\n")


def test_the_model_that_the_result_names_is_found_among_those_that_ship(
    reproduce, toy_folder, tmp_path, monkeypatch
):
    other = write_toy_model(tmp_path / "other")
    write_manifest(other, version="0.2")
    (tmp_path / "hepar.toml").write_text(f'[engine]\nmodel = "{other}"\n')
    shipped = "dicom_node.commands.reproduce.shipped_models"
    monkeypatch.setattr(shipped, lambda: {"other": other, "toy": toy_folder})
    said = reproduce("-c", tmp_path / "hepar.toml", model=None)
    assert "with the same model" in said
    assert said.endswith("equal\n")


def test_a_result_of_the_model_for_a_backlog_is_reproduced_by_that(reproduce, toy_folder, tmp_path):
    other = write_toy_model(tmp_path / "other")
    write_manifest(other, version="0.2")
    engine = f'[engine]\nmodel = "{other}"\nbacklog_model = "{toy_folder}"\n'
    (tmp_path / "hepar.toml").write_text(engine)
    said = reproduce("-c", tmp_path / "hepar.toml", model=None)
    assert "with the same model" in said
    assert said.endswith("equal\n")


def test_another_device_is_named(reproduce, seg):
    written = dcmread(seg)
    for segment in written.SegmentSequence:
        (made_by,) = segment.SegmentationAlgorithmIdentificationSequence
        made_by.AlgorithmParameters = "model-sha256=ab,device=OpenVINO CPU bfloat16"
    written.save_as(seg)
    said = reproduce()
    assert re.search("on OpenVINO CPU.*, not on OpenVINO CPU bfloat16\n", said)
    assert "other attributes that differ: Segment Sequence\n" in said


@pytest.mark.parametrize("encoding", Encoding)
def test_a_lesion_that_is_a_segment_of_its_own_is_compared_as_such(
    reproduce, sources, toy_folder, tmp_path, encoding
):
    settings = load_settings(None, engine={"model": toy_folder})
    item = ResultObject(ObjectKind.SEG, SegForm(encoding, per_lesion=True))
    method = to_segmenter(settings, *to_fleet(settings)).now()
    target = tmp_path / "own.dcm"
    files = sorted(sources.iterdir())
    process(files, target, replace(method, items=frozenset({SEG, item})), series="1.2")
    said = reproduce(seg=item.file_beside(target))
    assert "Lesion 1: 0 of 800 voxels differ" in said
    assert said.endswith("equal\n")
