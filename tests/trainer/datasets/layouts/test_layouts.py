import gzip
import shutil
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK
from pydicom import dcmread
from pydicom.uid import generate_uid

from dicom_node.results.phantom import to_instances
from engine.volume import Label, LabelMap
from tests.trainer.datasets.sample_data import (
    LAYOUTS,
    drawn_seg,
    small_phantom,
    write_chaos,
    write_decathlon,
    write_drawn,
    write_ircad,
    write_lits,
)
from trainer.datasets.cases.patient_split import split_patients
from trainer.datasets.cases.target import Target
from trainer.datasets.layouts.nifti_image import TOLERANCE_MM, offset_mm
from trainer.datasets.layouts.read_all import find_cases, read_cases, read_slices
from trainer.errors import BadCase, BadData


@pytest.fixture(scope="module")
def phantom():
    return small_phantom()


def only(folder):
    (found,) = find_cases(folder)
    return found


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_volume_and_the_same_labels(layout, phantom, tmp_path):
    LAYOUTS[layout](phantom, tmp_path)
    found = only(tmp_path)
    case = found.read()
    expected = phantom.truth.labels
    if layout == "CHAOS":  # the liver alone
        expected = (expected > 0) * np.uint8(Label.LIVER)
    assert layout.startswith(found.source)
    assert np.array_equal(case.volume.hu, phantom.volume.hu)
    assert np.array_equal(case.target, expected)
    assert np.allclose(case.volume.geometry.affine, phantom.volume.geometry.affine, atol=1e-3)
    assert case.tumours_drawn


def same(case, phantom) -> bool:
    return np.array_equal(case.volume.hu, phantom.volume.hu) and np.array_equal(
        case.target > 0, phantom.truth.labels > 0
    )


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "CT with SEG"])
def test_what_a_desktop_leaves_beside_the_files_changes_nothing(layout, phantom, tmp_path):
    LAYOUTS[layout](phantom, tmp_path)
    for folder in {path.parent for path in tmp_path.rglob("*") if path.is_file()}:
        (folder / ".DS_Store").write_bytes(b"\0")
        (folder / "._image_0").write_bytes(b"\0")
    assert same(only(tmp_path).read(), phantom)


@pytest.mark.parametrize("layout", ["LiTS", "3D-IRCADb-01 in folders", "CHAOS"])
@pytest.mark.parametrize("spelt", [str.upper, str.lower])
def test_names_may_be_in_capitals_or_not(layout, spelt, phantom, tmp_path):
    LAYOUTS[layout](phantom, tmp_path)
    for path in sorted(tmp_path.rglob("*"), key=lambda path: -len(path.parts)):
        if path.is_dir() or path.name.startswith(("volume", "segmentation")):
            stem = path.name if path.is_dir() else path.stem
            path.rename(path.with_name(spelt(stem) + ("" if path.is_dir() else path.suffix)))
    assert same(only(tmp_path).read(), phantom)


def test_a_link_to_a_data_set_is_followed_and_a_circle_of_links_ends(phantom, tmp_path):
    write_ircad(phantom, tmp_path / "elsewhere")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "round").symlink_to(tmp_path / "data")
    assert same(only(tmp_path / "data").read(), phantom)


def test_the_zip_of_3d_ircadb_may_be_named_itself(phantom, tmp_path):
    LAYOUTS["3D-IRCADb-01 in one zip"](phantom, tmp_path)
    assert same(only(tmp_path / "3Dircadb1.zip").read(), phantom)


def test_a_zip_beside_what_was_unpacked_from_it_is_no_second_case(phantom, tmp_path):
    case = write_ircad(phantom, tmp_path)
    shutil.make_archive(str(case), "zip", tmp_path, case.name)
    write_lits(phantom, tmp_path / "lits")
    for path in list((tmp_path / "lits").iterdir()):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert [found.name for found in find_cases(tmp_path)] == ["volume 15", "3Dircadb1.3"]


def test_folders_that_an_unpacker_doubled_are_seen_through(phantom, tmp_path):
    case = write_ircad(phantom, tmp_path)
    for part in ("PATIENT_DICOM", "MASKS_DICOM"):
        (case / part).rename(case / "moved")
        (case / part).mkdir()
        (case / "moved").rename(case / part / part)
    assert same(only(tmp_path).read(), phantom)


@pytest.mark.parametrize("named", [True, False])
def test_the_decathlon_may_be_unpacked_and_may_have_lost_its_list(named, phantom, tmp_path):
    write_decathlon(phantom, tmp_path)
    for path in list(tmp_path.rglob("*.nii.gz")):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    if not named:
        (tmp_path / "dataset.json").unlink()
    case = only(tmp_path).read()
    assert same(case, phantom)
    assert case.patient == "lits14"


def test_chaos_is_taken_for_its_ct_only_and_says_where_nothing_was_drawn(phantom, tmp_path):
    write_chaos(phantom, tmp_path)
    shutil.copytree(tmp_path / "CT" / "7", tmp_path / "MR_data_batch1" / "7" / "T2SPIR")
    assert only(tmp_path).name == "set 7"
    shutil.rmtree(tmp_path / "CT" / "7" / "Ground")
    with pytest.raises(BadCase, match="set 7: nothing was drawn on it"):
        only(tmp_path).read()


def test_a_patient_of_three_data_sets_has_one_name(phantom, tmp_path):
    write_lits(phantom, tmp_path / "lits", 30)
    write_lits(phantom, tmp_path / "others", 31)
    write_ircad(phantom, tmp_path / "ircad", 3)
    assert [case.patient for case in read_cases(tmp_path)] == ["lits30", "lits31", "lits30"]


def test_volumes_of_two_data_sets_become_slices_of_one_side(phantom, tmp_path):
    write_decathlon(phantom, tmp_path / "msd")
    write_chaos(phantom, tmp_path / "chaos")
    slices = read_slices(tmp_path, 64)
    assert len(slices) == 16
    assert set(slices.patient) == {"lits14", "chaos7"}  # LiTS 14 and 15 are one patient
    assert slices.pixel_mm == pytest.approx(6.0)


@pytest.mark.parametrize("flips", [(1, 1), (-1, 1), (1, -1), (-1, -1)])
def test_where_lits_lost_its_header_slices_are_set_upright_and_no_size_is_made_up(
    flips, phantom, tmp_path
):
    turned = (slice(None), slice(None, None, flips[0]), slice(None, None, flips[1]))
    for name, array in (("volume", phantom.volume.hu), ("segmentation", phantom.truth.labels)):
        image = SimpleITK.GetImageFromArray(array[turned])
        SimpleITK.WriteImage(image, str(tmp_path / f"{name}-30.nii"))
    case = only(tmp_path).read()
    assert np.array_equal(case.volume.hu, phantom.volume.hu)
    assert np.array_equal(case.target, phantom.truth.labels)
    slices = read_slices(tmp_path)
    assert np.isnan(slices.pixel_mm).all()
    assert np.isnan(slices.position_mm).all()


def test_labels_whose_header_says_nothing_lie_on_their_volume(phantom, tmp_path):
    write_lits(phantom, tmp_path)
    path = str(tmp_path / "segmentation-15.nii")
    drawn = SimpleITK.GetImageFromArray(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(path)))
    SimpleITK.WriteImage(drawn, path)
    assert np.array_equal(only(tmp_path).read().target, phantom.truth.labels)


@pytest.mark.parametrize(
    ("layout", "name", "spoil", "message"),
    [
        ("LiTS", "segmentation-15.nii", "origin", r"differ by 8\.00 mm"),
        # 0.09 mm a step are 4 mm after 47 steps.
        ("LiTS", "segmentation-15.nii", "steps", r"differ by 4\.23 mm"),
        (
            "DICOM with NIfTI",
            "anna/tumour.nii.gz",
            "steps",
            r"tumour\.nii\.gz: labels lie 4\.23 mm beside the series",
        ),
    ],
)
def test_labels_that_lie_elsewhere_at_any_corner_are_refused(
    layout, name, spoil, message, phantom, tmp_path
):
    LAYOUTS[layout](phantom, tmp_path)
    path = str(tmp_path / name)
    drawn = SimpleITK.ReadImage(path)
    if spoil == "origin":
        drawn.SetOrigin([place + 8 for place in drawn.GetOrigin()])
    else:
        drawn.SetSpacing([step + 0.09 for step in drawn.GetSpacing()])
    SimpleITK.WriteImage(drawn, path)
    with pytest.raises(BadCase, match=message):
        only(tmp_path).read()


@pytest.mark.parametrize("axes", ["LPS", "RAS", "SPR"])
def test_labels_stored_along_other_axes_are_turned_to_their_volume(axes, phantom, tmp_path):
    write_lits(phantom, tmp_path)
    path = str(tmp_path / "segmentation-15.nii")
    SimpleITK.WriteImage(SimpleITK.DICOMOrient(SimpleITK.ReadImage(path), axes), path)
    assert np.array_equal(only(tmp_path).read().target, phantom.truth.labels)


def test_headers_that_round_their_steps_are_one_grid(phantom, tmp_path):
    write_lits(phantom, tmp_path)
    path = str(tmp_path / "segmentation-15.nii")
    drawn = SimpleITK.ReadImage(path)
    drawn.SetSpacing([step + 0.0005 for step in drawn.GetSpacing()])
    SimpleITK.WriteImage(drawn, path)
    assert np.array_equal(only(tmp_path).read().target, phantom.truth.labels)


def test_steps_rounded_to_three_decimals_are_one_grid_over_512_voxels():
    exact, rounded = np.diag([2.5, 0.7425, 0.7425, 1.0]), np.diag([2.5, 0.743, 0.743, 1.0])
    assert offset_mm(exact, rounded, (40, 512, 512)) < TOLERANCE_MM


def test_a_volume_without_its_labels_is_refused(phantom, tmp_path):
    write_lits(phantom, tmp_path)
    (tmp_path / "segmentation-15.nii").unlink()
    with pytest.raises(BadCase, match=r"no segmentation-15\.nii"):
        only(tmp_path).read()


@pytest.mark.parametrize(
    ("write", "file"),
    [(write_decathlon, "labelsTr/liver_15.nii.gz"), (write_lits, "volume-15.nii")],
)
def test_a_file_that_breaks_off_is_refused(write, file, phantom, tmp_path):
    write(phantom, tmp_path)
    whole = (tmp_path / file).read_bytes()
    (tmp_path / file).write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(BadCase, match="cannot be read"):
        only(tmp_path).read()


def test_labels_with_another_meaning_are_refused(phantom, tmp_path):
    write_lits(phantom, tmp_path)
    (tmp_path / "segmentation-15.nii").write_bytes((tmp_path / "volume-15.nii").read_bytes())
    with pytest.raises(BadCase, match="0, 1 and 2 are expected"):
        only(tmp_path).read()


def test_a_missing_mask_is_refused(phantom, tmp_path):
    case = write_ircad(phantom, tmp_path)
    (case / "MASKS_DICOM" / "livertumor02" / "image_4").unlink()
    with pytest.raises(
        BadCase, match="1 of 8 masks are missing in livertumor02, among them image_4"
    ):
        only(tmp_path).read()


def test_a_missing_slice_is_refused(phantom, tmp_path):
    case = write_ircad(phantom, tmp_path)
    (case / "PATIENT_DICOM" / "image_4").unlink()
    with pytest.raises(BadCase, match=r"3Dircadb1\.3.*differ from the usual"):
        only(tmp_path).read()


def test_a_zip_that_is_none_is_refused(tmp_path):
    (tmp_path / "3Dircadb1.9.zip").write_bytes(b"half a download")
    with pytest.raises(BadCase, match=r"3Dircadb1\.9.*cannot be unpacked"):
        only(tmp_path).read()


def test_a_slice_of_chaos_without_its_picture_is_refused(phantom, tmp_path):
    write_chaos(phantom, tmp_path)
    next((tmp_path / "CT" / "7" / "Ground").glob("*.png")).unlink()
    with pytest.raises(BadCase, match="7 masks for 8 images"):
        only(tmp_path).read()


def test_a_slice_of_chaos_that_is_there_twice_is_refused(phantom, tmp_path):
    write_chaos(phantom, tmp_path)
    case = tmp_path / "CT" / "7"
    shutil.copy(case / "DICOM_anon" / "i0000,0000b.dcm", case / "DICOM_anon" / "i9999,0000b.dcm")
    shutil.copy(case / "Ground" / "liver_GT_000.png", case / "Ground" / "liver_GT_999.png")
    with pytest.raises(BadCase, match="9 slices were drawn on, and 8 were read"):
        only(tmp_path).read()


@pytest.mark.parametrize("author", ["AUTOMATIC", "HEPAR"])
def test_what_a_machine_drew_is_not_learnt_from(author, phantom, tmp_path):
    write_drawn(phantom, tmp_path, author)
    with pytest.raises(BadCase, match="only what persons drew is learnt from"):
        only(tmp_path).read()


@pytest.mark.parametrize(
    ("by_machine", "targets"),
    [
        ("umour", {Target.BACKGROUND, Target.LIVER_OR_TUMOUR}),
        ("iver", {Target.NO_TUMOUR, Target.TUMOUR}),
    ],
)
def test_a_correction_of_one_organ_teaches_that_organ_alone(phantom, tmp_path, by_machine, targets):
    write_drawn(phantom, tmp_path)
    seg = dcmread(tmp_path / "seg")
    for each in seg.SegmentSequence:
        if by_machine in each.SegmentLabel:
            each.SegmentAlgorithmType = "AUTOMATIC"
    seg.save_as(tmp_path / "seg", enforce_file_format=True)
    target = only(tmp_path).read().target
    assert set(np.unique(target)) == targets
    whole = phantom.truth.labels != Label.BACKGROUND
    if by_machine == "umour":
        assert np.array_equal(target == Target.LIVER_OR_TUMOUR, whole)


def test_a_seg_without_its_images_is_refused(phantom, tmp_path):
    write_drawn(phantom, tmp_path)
    for path in tmp_path.glob("[0-9]"):
        path.unlink()
    with pytest.raises(BadCase, match="there is a SEG, and no image"):
        only(tmp_path).read()


def test_the_patient_id_of_a_series_is_not_told(phantom, tmp_path):
    write_drawn(phantom, tmp_path)
    assert only(tmp_path).read().patient.startswith("patient-")


def test_a_correction_of_tumours_alone_says_nothing_of_the_liver(phantom, tmp_path):
    write_drawn(phantom, tmp_path)
    seg = dcmread(tmp_path / "seg")
    keep_tumours(seg).save_as(tmp_path / "seg", enforce_file_format=True)
    target = only(tmp_path).read().target
    assert set(np.unique(target)) == {Target.TUMOUR, Target.NO_TUMOUR}
    assert np.array_equal(target == Target.TUMOUR, phantom.truth.labels == Label.TUMOUR)
    slices = read_slices(tmp_path)
    assert not split_patients(slices, 2, 0).held_out


def test_two_corrections_of_one_time_that_differ_are_refused(phantom, tmp_path):
    write_drawn(phantom, tmp_path)
    other = dcmread(tmp_path / "seg")
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = f"{other.SOPInstanceUID}.1"
    other.save_as(tmp_path / "other", enforce_file_format=True)
    only(tmp_path).read()  # two that agree are no riddle
    other.PixelData = bytes(len(other.PixelData))
    other.save_as(tmp_path / "other", enforce_file_format=True)
    with pytest.raises(BadCase, match=r"saved at the same time .* and differ"):
        only(tmp_path).read()


def test_a_correction_of_slices_that_are_not_there_is_refused(phantom, tmp_path):
    write_drawn(phantom, tmp_path)
    seg = dcmread(tmp_path / "seg")
    named = seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    named[0].ReferencedSOPInstanceUID = "1.2.3"
    seg.save_as(tmp_path / "seg", enforce_file_format=True)
    with pytest.raises(BadCase, match="drawn on 1 slices that are not in the series"):
        only(tmp_path).read()


def test_a_correction_in_another_frame_of_reference_is_refused(phantom, tmp_path):
    write_drawn(phantom, tmp_path)
    seg = dcmread(tmp_path / "seg")
    seg.FrameOfReferenceUID = "1.2.3"
    seg.save_as(tmp_path / "seg", enforce_file_format=True)
    with pytest.raises(BadCase, match=r"frame of reference 1\.2\.3"):
        only(tmp_path).read()


def keep_tumours(seg):
    """Take the frames and the segment of the liver out of a SEG."""
    number = next(
        each.SegmentNumber for each in seg.SegmentSequence if "umour" in each.SegmentLabel
    )
    frames = seg.PerFrameFunctionalGroupsSequence
    wanted = [
        index
        for index, frame in enumerate(frames)
        if frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber == number
    ]
    bits = np.unpackbits(np.frombuffer(seg.PixelData, np.uint8), bitorder="little")
    size = seg.Rows * seg.Columns
    kept = np.concatenate([bits[index * size : (index + 1) * size] for index in wanted])
    packed = np.packbits(kept, bitorder="little").tobytes()
    seg.PixelData = packed + b"\0" * (len(packed) % 2)
    seg.PerFrameFunctionalGroupsSequence = [frames[index] for index in wanted]
    seg.NumberOfFrames = len(wanted)
    seg.SegmentSequence = [each for each in seg.SegmentSequence if each.SegmentNumber == number]
    return seg


def test_a_folder_in_which_every_case_is_broken_is_refused(phantom, tmp_path):
    write_drawn(phantom, tmp_path, "AUTOMATIC")
    with pytest.raises(BadData, match=r"nothing to learn from.*all 1 cases are broken.*persons"):
        read_slices(tmp_path)


def test_an_empty_folder_is_refused_with_what_would_do(tmp_path):
    with pytest.raises(BadData, match=r"neither .* nor labelled volumes; .*dataset\.toml"):
        read_slices(tmp_path)


def test_the_real_healthy_liver_of_chaos_is_read(shared_data):
    (case,) = read_cases(shared_data / "ct" / "chaos3")
    assert case.patient == "chaos3"
    assert case.truth.millilitres(Label.LIVER) == pytest.approx(1417, abs=2)
    assert case.volume.hu[case.target > 0].mean() == pytest.approx(141, abs=1)


def test_the_real_seg_of_another_toolkit_is_read(shared_data):
    (case,) = read_cases(shared_data / "ct" / "dcmqi3")
    assert case.volume.hu.shape == (3, 512, 512)
    assert np.count_nonzero(case.target == Target.LIVER_OR_TUMOUR) == 107098


@pytest.mark.parametrize("files", [("older", "newer"), ("newer", "older")])
def test_the_newest_correction_counts_whatever_its_file_is_called(files, phantom, tmp_path):
    instances = list(to_instances(phantom, "drawn"))
    for index, instance in enumerate(instances):
        instance.save_as(tmp_path / f"{index}", enforce_file_format=True)
    labels = phantom.truth.labels.copy()
    half = labels.shape[0] // 2
    labels[:half] = 0
    corrected = replace(phantom, truth=LabelMap(labels, phantom.volume.geometry))
    for drawn, day, name in zip((phantom, corrected), ("20260101", "20260102"), files, strict=True):
        seg = drawn_seg(drawn, instances, "MANUAL")
        seg.SOPInstanceUID = seg.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        seg.ContentDate = day
        seg.save_as(tmp_path / name, enforce_file_format=True)
    target = only(tmp_path).read().target
    assert not target[:half].any()
    assert target[half:].any()
