"""One series through the whole pipeline: several stacks, a tilted gantry, gaps, uneven slices."""

import math
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from dicom_node.corrections.kept_labels import SUFFIX, read_kept_labels
from dicom_node.errors import UnsupportedSeries
from dicom_node.pipeline import findings
from dicom_node.pipeline.outcome import Verdict
from dicom_node.pipeline.process import process
from dicom_node.pipeline.segmenter import SegmentationSetup, to_method
from dicom_node.pipeline.side_files import SideFile, beside
from dicom_node.results.attributes.segment_description import Algorithm
from dicom_node.results.objects import ObjectKind, ResultObject
from dicom_node.results.phantom import derived_uid, to_instances
from dicom_node.selection.rules import Rules
from dicom_node.series import to_volume, volume_frames
from engine.findings.certainty import REVIEWED
from engine.findings.quality import Quality
from engine.manifest import (
    Calibration,
    Domain,
    Feature,
    Range,
    VolumeCalibration,
    hashed_patient,
)
from engine.model import default_model_folder, load_model
from engine.phantom import make_phantom
from tests.conftest import make_enhanced_ct
from tests.dicom_node.node_process import Thresholds

SETUP = SegmentationSetup(
    Thresholds(),
    Algorithm("toy", "1", "ab" * 32),
    Rules(),
    frozenset(map(ResultObject, ObjectKind)),
)


@pytest.fixture(scope="module")
def phantom():
    return make_phantom(shape=(28, 48, 48), spacing_mm=(7, 8, 8), noise_hu=2)


@pytest.fixture
def slices(phantom):
    """Fresh CT instances of a phantom, feet to head."""
    return list(to_instances(phantom, "stack"))


@pytest.fixture
def run(tmp_path):
    """Process instances that were written to files."""

    def processed(instances, setup=SETUP):
        folder = tmp_path / f"series{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        for index, instance in enumerate(instances):
            instance.save_as(folder / f"{index}.dcm", enforce_file_format=True)
        return process(sorted(folder.iterdir()), folder / "seg.dcm", setup, series="test")

    return processed


def masks(seg_file):
    """Source instance and frame, and segment, to the mask of each frame of a SEG."""
    seg = dcmread(seg_file)
    pixels = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    shared = seg.SharedFunctionalGroupsSequence[0]
    found = {}
    for groups, mask in zip(seg.PerFrameFunctionalGroupsSequence, pixels, strict=True):
        image = groups.DerivationImageSequence[0].SourceImageSequence[0]
        named = groups if "SegmentIdentificationSequence" in groups else shared
        number = named.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        source = image.ReferencedSOPInstanceUID, image.get("ReferencedFrameNumber")
        found[(*source, number)] = mask
    return found


def positions(seg_file):
    """Source instance to where its frame lies."""
    return {
        str(
            groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        ): list(map(float, groups.PlanePositionSequence[0].ImagePositionPatient))
        for groups in dcmread(seg_file).PerFrameFunctionalGroupsSequence
    }


def same_masks(found, expected):
    return found.keys() == expected.keys() and all(
        np.array_equal(found[key], expected[key]) for key in expected
    )


def moved(instance, x=0.0, y=0.0, z=0.0):
    place = map(float, instance.ImagePositionPatient)
    instance.ImagePositionPatient = [round(a + b, 4) for a, b in zip(place, (x, y, z), strict=True)]
    return instance


def phase(slices, number, **attributes):
    """The same slices once more, as another phase."""
    copies = deepcopy(slices)
    for copy in copies:
        copy.SOPInstanceUID = derived_uid(copy.SOPInstanceUID, str(number))
        copy.file_meta.MediaStorageSOPInstanceUID = copy.SOPInstanceUID
        copy.AcquisitionNumber = number
        for keyword, value in attributes.items():
            setattr(copy, keyword, value)
    return copies


def test_a_scan_unlike_those_that_the_model_learnt_from_is_to_be_reviewed(run, slices):
    ranges = {Feature.LEVEL: Range(low=500, high=600), Feature.SLICES: Range(low=7, high=7)}
    learnt = Domain(patients=30, hu_bounds=(-200, 400), ranges=ranges)
    outcome = run(slices, replace(SETUP, domain=learnt))
    unlike = [reason for reason in outcome.review if "learnt" in reason]
    assert [reason.partition("; ")[2] for reason in unlike] == ["learnt: 500 to 600"]
    assert not any("learnt" in reason for reason in run(slices).review)


def test_the_model_states_whom_it_learnt_from():
    base = load_model(default_model_folder())
    evaluation = base.manifest.evaluation | {"learnt_patients": ["patient-1", "lits2"]}
    manifest = base.manifest.model_copy(update={"evaluation": evaluation})
    setup = to_method(replace(base, manifest=manifest), Thresholds(), Rules(), frozenset())
    assert setup.learnt_patients == {"patient-1", "lits2"}


def test_the_model_states_what_its_results_are_compared_with():
    model = load_model(default_model_folder())
    method = to_method(model, Thresholds(), Rules(), frozenset())
    assert method.domain == model.manifest.domain
    assert method.domain is not None
    assert method.calibration == model.manifest.calibration
    assert method.calibration is not None


def test_a_model_that_states_how_certain_it_is_does_so_in_each_result(run, slices, monkeypatch):
    width = VolumeCalibration(relative_error=0.1, coverage=0.9, patients=18)
    setup = replace(SETUP, calibration=Calibration(liver_volume=width))
    assert run(slices, setup).summary.certainty_notes == (REVIEWED,)
    monkeypatch.setattr(findings, "check_quality", lambda *given: Quality())
    found = run(slices, setup).summary
    assert found.liver_interval.high_ml == pytest.approx(1.1 * found.liver_ml)
    assert "like the 18" in found.certainty_notes[-1]
    plain = run(slices).summary
    assert (plain.liver_interval, plain.certainty_notes) == (None, ())


def test_a_result_below_the_agreement_that_the_model_states_is_to_be_reviewed(
    run, slices, monkeypatch
):
    judged = []

    def seen(made, measured, outside, calibration):
        judged.append(calibration)
        return Quality()

    monkeypatch.setattr(findings, "check_quality", seen)
    bound = {"least": 0.9, "part": 0.25, "patients": 18}
    stated = Calibration.model_validate({"liver_agreement": bound})
    run(slices, replace(SETUP, calibration=stated))
    assert judged == [stated]


def test_the_same_work_again_leaves_the_object_that_may_be_in_an_archive(run, slices, tmp_path):
    """Under one UID there is one content, its time of making included."""
    run(slices)
    folder = tmp_path / "series0"
    made = {path: yesterday(path) for path in folder.glob("seg*")}
    assert len(made) == len(SETUP.items) + 1  # and the page
    sources = sorted(folder.glob("[0-9]*.dcm"))
    process(sources, folder / "seg.dcm", SETUP, series="test")
    assert {path: path.read_bytes() for path in made} == made
    newer = replace(SETUP, algorithm=replace(SETUP.algorithm, version="2"))
    process(sources, folder / "seg.dcm", newer, series="test")
    assert not any(path.read_bytes() == file for path, file in made.items())


def yesterday(path):
    """Date an object back; return its file."""
    if path.suffix == ".dcm":
        made = dcmread(path)
        for kind in ("Series", "Content", "InstanceCreation"):
            setattr(made, f"{kind}Date", "20200101")
        made.save_as(path)
    return path.read_bytes()


@pytest.mark.parametrize("degrees", [-25, -5, 5, 15, 25])
def test_a_tilted_gantry_gives_the_masks_of_the_upright_phantom_plane_by_plane(
    run, slices, degrees
):
    upright = run(slices)
    for index, instance in enumerate(slices):
        moved(instance, y=7 * index * math.tan(math.radians(degrees)))
    tilted = run(slices)
    assert tilted.verdict is Verdict.SEGMENTED
    assert same_masks(masks(tilted.seg), masks(upright.seg))
    assert tilted.millilitres == pytest.approx(upright.millilitres)  # a shear keeps volumes
    for uid, place in positions(tilted.seg).items():
        source = next(each for each in slices if each.SOPInstanceUID == uid)
        assert place == pytest.approx(list(map(float, source.ImagePositionPatient)), abs=1e-9)
    assert "tilted gantry" in tilted.notes[0]


def test_a_real_tilted_series_keeps_its_slices(real_series):
    instances = real_series("odd/gantry_tilt")
    for instance in instances:  # a head, published without a frame of reference
        instance.FrameOfReferenceUID = "2.25.1"
    grid = to_volume(instances).geometry
    for index, frame in enumerate(volume_frames(instances)):
        place = (grid.affine @ [index, 0, 0, 1])[:3]
        assert place == pytest.approx(frame.instance.ImagePositionPatient, abs=1e-3)
    assert grid.spacing[0] == pytest.approx(5 * math.cos(math.radians(14)), abs=0.01)
    assert grid.voxel_ml == pytest.approx(math.prod(grid.spacing) / 1000)


def test_two_phases_that_interleave_become_two_results(run, slices):
    late = [moved(each, z=3.5) for each in phase(slices, 2)]
    for instance in slices:
        instance.AcquisitionNumber = 1
    alone = run(slices)
    both = run([*slices, *late])
    assert [each.label for each in both.each] == ["AcquisitionNumber 1", "AcquisitionNumber 2"]
    assert {each.verdict for each in both.each} == {Verdict.SEGMENTED}
    for each in both.each:
        assert each.millilitres == pytest.approx(alone.millilitres)
    assert same_masks(masks(both.each[0].seg), masks(alone.seg))
    assert len({each.seg for each in both.each}) == len({each.seg_uid for each in both.each}) == 2


def test_two_energies_at_the_same_places_are_told_apart_by_kvp(run, slices):
    both = run([*phase(slices, 1, KVP="80"), *phase(slices, 2, KVP="140")])
    assert [each.label for each in both.each] == ["KVP 80", "KVP 140"]
    assert both.each[0].stack == "kvp-80"


def test_one_time_point_of_a_perfusion_is_segmented_and_named(run, slices):
    brighter = {3: 12}
    times = []
    for number in range(1, 7):
        part = phase(slices, number)
        for instance in part:
            stored = np.frombuffer(instance.PixelData, np.uint16)
            instance.PixelData = (stored + brighter.get(number, 0)).astype(np.uint16).tobytes()
        times += part
    made = run(times)
    assert made.verdict is Verdict.SEGMENTED
    assert [each.label for each in made.each if each.verdict is Verdict.SEGMENTED] == [
        "AcquisitionNumber 3"
    ]
    assert "6 time points" in made.reason
    assert "AcquisitionNumber 3 is segmented" in made.reason


def test_two_dimensions_of_an_enhanced_image_become_two_results(run, slices):
    whole = make_enhanced_ct([*slices, *slices])
    for index, groups in enumerate(whole.PerFrameFunctionalGroupsSequence):
        groups.FrameContentSequence = [Dataset()]
        groups.FrameContentSequence[0].TemporalPositionIndex = 1 + index // 28
    whole.file_meta.MediaStorageSOPInstanceUID = whole.SOPInstanceUID
    made = run([whole])
    assert [each.label for each in made.each] == [
        "TemporalPositionIndex 1",
        "TemporalPositionIndex 2",
    ]
    first, second = (masks(each.seg) for each in made.each)
    assert {frame for _, frame, _ in first} == {frame - 28 for _, frame, _ in second}
    assert len({each.seg_uid for each in made.each}) == 2


def test_two_enhanced_instances_of_one_volume_are_one_stack(run, slices):
    alone = run([make_enhanced_ct(slices)])
    lower, upper = make_enhanced_ct(slices[:14]), make_enhanced_ct(slices[14:])
    upper.SeriesInstanceUID = lower.SeriesInstanceUID
    made = run([upper, lower])
    assert made.verdict is Verdict.SEGMENTED
    assert made.millilitres == pytest.approx(alone.millilitres)


def test_a_gap_is_refused_with_its_place_and_bridged_only_where_that_is_allowed(run, slices):
    whole = run(slices)
    del slices[14]
    with pytest.raises(UnsupportedSeries, match=r"slices are missing between .* and .* mm"):
        run(slices)
    allowed = replace(SETUP, rules=Rules(bridge_gaps=True))
    made = run(slices, allowed)
    assert made.verdict is Verdict.SEGMENTED
    assert made.millilitres["liver"] == pytest.approx(whole.millilitres["liver"], rel=0.1)
    shown = {uid for uid, _, _ in masks(made.seg)}
    assert shown <= {str(each.SOPInstanceUID) for each in slices}
    assert "slices are missing" in made.notes[0]
    assert (
        "SpacingBetweenSlices"
        not in (dcmread(made.seg).SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0])
    )


def test_a_gap_of_three_slices_is_never_bridged(run, slices):
    with pytest.raises(UnsupportedSeries, match="gaps"):
        run([*slices[:12], *slices[15:]], replace(SETUP, rules=Rules(bridge_gaps=True)))


def test_slices_at_changing_distances_are_measured_by_their_places(run, slices):
    """Every second slice of the upper half was never made: it stands for twice the height."""
    whole = run(slices)
    made = run([*slices[:14], *slices[15::2]])
    assert made.verdict is Verdict.SEGMENTED
    assert made.millilitres["liver"] == pytest.approx(whole.millilitres["liver"], rel=0.15)
    expected = masks(whole.seg)
    for key, mask in masks(made.seg).items():  # the cleaning sees other neighbours, little else
        assert np.count_nonzero(mask != expected[key]) < 0.02 * mask.size


@pytest.mark.parametrize(
    ("changes", "figures"),
    [
        ({"RescaleIntercept": 0}, "above 400 HU"),
        ({"RescaleIntercept": -2048}, "between -250 and 350 HU"),
        ({"RescaleSlope": 4}, "above 400 HU"),
        ({"RescaleSlope": "0.1"}, "between -250 and 350 HU"),
    ],
)
def test_values_that_are_no_hounsfield_units_are_refused_with_the_figures(
    run, slices, changes, figures
):
    for instance in slices:
        for keyword, value in changes.items():
            setattr(instance, keyword, value)
    with pytest.raises(UnsupportedSeries, match=f"implausible Hounsfield units: .*{figures}"):
        run(slices)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("AccessionNumber", "OTHER-ORDER"),
        ("PatientBirthDate", "19710202"),
        ("PatientName", "OTHER^PERSON"),
        ("PatientSex", "M"),
    ],
)
def test_what_verification_compares_is_asked_before_computing_and_not_repeated(
    run, slices, keyword, value
):
    setattr(slices[3], keyword, value)
    with pytest.raises(UnsupportedSeries, match=f"different {keyword}: ") as caught:
        run(slices)
    assert value not in str(caught.value)
    assert "correct the study in the archive" in str(caught.value)


def test_other_objects_and_copies_are_passed_over_by_name(run, slices):
    other = Dataset()
    other.update({element.tag: element for element in slices[0] if element.tag.group < 0x0020})
    other.file_meta = slices[0].file_meta.__class__()
    other.file_meta.update(slices[0].file_meta)
    other.SOPClassUID, other.Modality = "1.2.840.10008.5.1.4.1.1.481.3", "RTSTRUCT"
    other.StudyInstanceUID = slices[0].StudyInstanceUID
    other.SeriesInstanceUID = slices[0].SeriesInstanceUID
    other.SOPInstanceUID = "2.25.99"
    made = run([*slices, other, slices[2]])
    assert made.verdict is Verdict.SEGMENTED
    assert any("RT Structure Set Storage" in note for note in made.notes)
    assert any("hold instances twice" in note for note in made.notes)


def test_axial_images_computed_from_others_are_segmented_only_where_that_is_allowed(run, slices):
    for instance in slices:
        instance.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
    with pytest.raises(UnsupportedSeries, match=r"select\.derived_axial"):
        run(slices)
    allowed = replace(SETUP, rules=Rules(derived_axial=True))
    assert run(slices, allowed).verdict is Verdict.SEGMENTED
    for instance in slices:
        instance.ImageType = ["DERIVED", "SECONDARY", "MPR"]
    with pytest.raises(UnsupportedSeries, match="reformatted"):
        run(slices, allowed)


@pytest.mark.parametrize(("members", "labels"), [(1, set()), (2, {"liver", "tumour"})])
def test_one_network_alone_states_no_agreement(run, slices, members, labels):
    assert set(run(slices, replace(SETUP, members=members)).agreement) == labels


@pytest.mark.parametrize("patient_id", ["PHANTOM", ""])
def test_labels_kept_for_corrections_state_whether_the_model_learnt_from_the_patient(
    run, slices, patient_id
):
    """By the names that the trainer gives to an archive's patients."""
    for each in slices:
        each.PatientID = patient_id
    asked = replace(SETUP, beside=frozenset({SideFile.KEPT}))
    name = hashed_patient(patient_id, slices[0].StudyInstanceUID)
    for learnt_patients, learnt in ((frozenset({"lits3"}), False), (frozenset({name}), True)):
        outcome = run(slices, replace(asked, learnt_patients=learnt_patients))
        assert read_kept_labels(beside(outcome.seg, SUFFIX)).learnt is learnt
