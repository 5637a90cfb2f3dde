import json
import shutil

import numpy as np
import pytest
import SimpleITK
import typer
from typer.testing import CliRunner

from engine.model import load_model
from engine.serving.cpu import open_device
from tests.engine.toy_model import write_manifest, write_toy_model
from trainer.commands import register
from trainer.errors import BadData
from trainer.evaluation.run.devices import open_named
from trainer.evaluation.run.ground_truth import read_reference
from trainer.evaluation.run.seg_objects import find_segs, read_seg
from trainer.option_choices import DeviceName


@pytest.fixture
def hepar(tmp_path):
    """Run a command; return what it printed and the figures it wrote."""
    app = typer.Typer()
    register(app)

    def run(*arguments):
        figures = tmp_path / "figures.json"
        words = [str(each) for each in (*arguments, "--json", figures)]
        result = CliRunner().invoke(app, ["evaluate", *words], env={"COLUMNS": "200"})
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.output, json.loads(figures.read_text()) if figures.is_file() else {}

    return run


def test_the_truth_as_somebodys_seg_is_without_fault(hepar, series, truth):
    _, figures = hepar("--series", series, "--truth", truth / "truth.nii.gz", "--segs", truth)
    (judged,) = figures["methods"].values()
    ((_, patient),) = judged["per_patient"].items()
    for structure in ("liver", "tumour"):
        assert patient[structure]["dice"] == patient[structure]["nsd"] == 1
        assert patient[structure]["hd95_mm"] == patient[structure]["volume_error_ml"] == 0
    assert judged["lesions"]["precision"]["value"] == 1
    assert all(each["found"] == each["lesions"] for each in judged["lesions"]["sizes"])


def test_nifti_and_seg_of_one_truth_lie_on_the_same_voxels(phantom, series, truth):
    for name in ("truth.nii.gz", "truth.dcm"):
        case = read_reference(series, truth / name)
        np.testing.assert_array_equal(case.target, phantom.truth.labels)


def test_a_seg_may_lie_beside_the_images_it_was_drawn_on(series, truth, tmp_path):
    shutil.copytree(series, tmp_path / "both")
    shutil.copy(truth / "truth.dcm", tmp_path / "both")
    case = read_reference(tmp_path / "both", tmp_path / "both" / "truth.dcm")
    assert len(case.volume.hu) == 16


def test_a_model_marks_a_series_as_the_node_would_and_whoever_is_healthy_has_false_marks(
    hepar, series, truth, toy
):
    arguments = ("--series", series, "--truth", truth / "truth.nii.gz", "--model", toy)
    output, figures = hepar(*arguments)
    assert "toy 0.1 on OpenVINO CPU" in output
    assert figures["methods"]["toy 0.1"]["per_patient"]


def test_only_patients_that_the_model_has_not_seen_are_judged(hepar, data_folder, toy):
    _, unseen = hepar("--data", data_folder, "--model", toy)
    assert set(unseen["methods"]["toy 0.1"]["per_patient"]) == {"lits3", "lits4"}
    _, trained = hepar("--data", data_folder, "--model", toy, "--trained")
    _, everyone = hepar("--data", data_folder, "--model", toy, "--all")
    names = [set(each["methods"]["toy 0.1"]["per_patient"]) for each in (trained, everyone)]
    assert names[0] | {"lits3", "lits4"} == names[1]
    assert not names[0] & {"lits3", "lits4"}


def test_a_patient_whom_an_older_model_held_out_by_another_name_is_judged(
    hepar, data_folder, tmp_path
):
    with np.load(data_folder / "msd_liver_slices.npz") as file:
        patients = np.where(file["patient"] == 71, 10016, file["patient"])
        np.savez(tmp_path / "msd_liver_slices.npz", **{**file, "patient": patients})
    older = write_toy_model(tmp_path / "older")
    write_manifest(older, evaluation={"held_out_patients": ["msd10016"]})
    _, unseen = hepar("--data", tmp_path, "--model", older)
    assert set(unseen["methods"]["toy 0.1"]["per_patient"]) == {"lits113"}


def test_slices_of_no_spacing_have_overlaps_only(hepar, data_folder, toy):
    _, figures = hepar("--data", data_folder, "--model", toy, "--all")
    patient = figures["methods"]["toy 0.1"]["per_patient"]["msd71"]
    assert patient["liver"]["dice"] is not None
    assert patient["liver"]["nsd"] is patient["liver"]["true_ml"] is None
    assert "tumour" not in patient  # they were not drawn


def test_several_models_stand_side_by_side(hepar, data_folder, toy, tmp_path):
    shutil.copytree(toy, tmp_path / "other")
    _, figures = hepar("--data", data_folder, "--model", toy, "--model", tmp_path / "other")
    assert list(figures["methods"]) == [f"toy 0.1 ({toy})", f"toy 0.1 ({tmp_path / 'other'})"]


def test_data_without_anyone_unseen_says_what_to_do(hepar, data_folder, toy, tmp_path):
    stranger = write_toy_model(tmp_path / "stranger")
    write_manifest(stranger, evaluation={"held_out_patients": ["lits99"]})
    output, _ = hepar("--data", data_folder, "--model", stranger)
    assert "--all" in output
    output, _ = hepar("--data", tmp_path, "--all")
    assert "no labelled data" in output


def test_a_seg_of_another_frame_of_reference_is_refused(phantom, truth):
    (seg,) = find_segs(truth)
    with pytest.raises(BadData, match="frame of reference"):
        read_seg(
            seg.path,
            type(phantom.truth.geometry)(
                phantom.truth.geometry.shape, phantom.truth.geometry.affine, "1.2.3"
            ),
        )


def test_a_truth_that_lies_elsewhere_is_refused(ct_series, truth, tmp_path):
    for index, instance in enumerate(ct_series()):
        instance.save_as(tmp_path / f"{index}.dcm", enforce_file_format=True)
    with pytest.raises(BadData, match="very series"):
        read_reference(tmp_path, truth / "truth.nii.gz")


def test_a_truth_whose_steps_differ_a_little_is_refused(series, truth, tmp_path):
    image = SimpleITK.ReadImage(str(truth / "truth.nii.gz"))
    image.SetSpacing([step + 0.09 for step in image.GetSpacing()])
    SimpleITK.WriteImage(image, str(tmp_path / "truth.nii.gz"))
    with pytest.raises(BadData, match=r"5\.67 mm from"):
        read_reference(series, tmp_path / "truth.nii.gz")


def test_onnx_runtime_answers_as_openvino_does(toy):
    model = load_model(toy)
    hu = np.random.default_rng(0).integers(-200, 300, (2, 40, 50)).astype(np.float16)
    expected = open_device(model).run(hu, (3.0, 3.0)).labels
    found = open_named(DeviceName.ONNXRUNTIME, model, toy).run(hu, (3.0, 3.0)).labels
    np.testing.assert_array_equal(found, expected)
