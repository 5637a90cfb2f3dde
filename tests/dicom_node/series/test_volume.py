"""Laws of the volume: whatever the instances' order and orientation, the patient is one."""

import random
from itertools import product

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.filebase import DicomBytesIO
from pydicom.uid import JPEG2000Lossless, RLELossless

from dicom_node.errors import UnsupportedSeries
from dicom_node.series.frame_of_reference import (
    derived_frame_of_reference,
    has_derived_frame_of_reference,
)
from dicom_node.series.hounsfield import hounsfield
from dicom_node.series.reading import read_series
from dicom_node.series.volume import to_volume, volume_frames


@pytest.fixture
def noisy(ct_series):
    """A series whose voxels are all different, so that no flip goes unseen."""
    instances = ct_series(slices=5, rows=6, columns=7)
    stored = np.random.default_rng(0).permutation(5 * 6 * 7).reshape(5, 6, 7).astype(np.uint16)
    for instance, plane in zip(instances, stored, strict=True):
        instance.PixelData = plane.tobytes()
    return instances


def same(volume, other):
    return np.array_equal(volume.hu, other.hu) and volume.geometry.matches(other.geometry)


def rewritten(instance, transpose, flip_rows, flip_columns):
    """The same slice of the same patient, its pixels written in another order."""
    row, column = np.reshape(instance.ImageOrientationPatient, (2, 3)).astype(float)
    position = np.array(instance.ImagePositionPatient, float)
    down_mm, across_mm = map(float, instance.PixelSpacing)
    array = np.frombuffer(instance.PixelData, np.uint16)
    array = array.reshape(instance.Rows, instance.Columns)
    if transpose:
        array, row, column, down_mm, across_mm = array.T, column, row, across_mm, down_mm
    if flip_rows:
        position, column = position + column * down_mm * (array.shape[0] - 1), -column
        array = array[::-1]
    if flip_columns:
        position, row = position + row * across_mm * (array.shape[1] - 1), -row
        array = array[:, ::-1]
    instance.Rows, instance.Columns = array.shape
    instance.PixelSpacing = [down_mm, across_mm]
    instance.ImagePositionPatient, instance.ImageOrientationPatient = (
        list(position),
        [*row, *column],
    )
    instance.PixelData = array.tobytes()
    return instance


def write(instances, folder):
    for index, instance in enumerate(instances):
        instance.save_as(folder / f"{index}.dcm", enforce_file_format=True)
    return sorted(folder.iterdir())


def test_planes_run_to_the_head_the_back_and_the_left(ct_series):
    volume = to_volume(ct_series())
    assert volume.geometry.spacing == pytest.approx((2.0, 0.5, 0.7))
    np.testing.assert_array_equal(volume.hu[:, 3, 4], [0, 1, 2, 3, 4, 5])
    expected = [[0, 0, 0.7, -100], [0, 0.5, 0, -120], [2, 0, 0, 10], [0, 0, 0, 1]]
    np.testing.assert_allclose(volume.geometry.affine, expected)
    assert volume.hu.dtype == np.int16


def test_shuffled_slices_change_nothing(noisy):
    volume = to_volume(noisy)
    for seed in range(5):
        assert same(to_volume(random.Random(seed).sample(noisy, len(noisy))), volume)


@pytest.mark.parametrize(
    ("transpose", "flip_rows", "flip_columns"), list(product([False, True], repeat=3))
)
def test_the_order_of_stored_pixels_changes_nothing(noisy, transpose, flip_rows, flip_columns):
    volume = to_volume(noisy)
    other = [rewritten(instance, transpose, flip_rows, flip_columns) for instance in noisy]
    assert same(to_volume(other), volume)


def test_feet_first_changes_nothing(noisy):
    """PatientPosition is a note: ImagePositionPatient says where the head is."""
    volume = to_volume(noisy)
    for number, instance in enumerate(reversed(noisy), start=1):
        instance.PatientPosition, instance.InstanceNumber = "FFS", number
    assert same(to_volume(noisy[::-1]), volume)


@pytest.mark.parametrize("flip", [False, True])
def test_the_affine_puts_each_plane_where_its_instance_says(noisy, flip):
    instances = [rewritten(instance, False, flip, False) for instance in noisy]
    affine = to_volume(instances).geometry.affine
    corner = [5, 0] if flip else [0, 0]
    for index, frame in enumerate(volume_frames(random.Random(0).sample(instances, 5))):
        position = (affine @ [index, *corner, 1])[:3]
        np.testing.assert_allclose(position, frame.instance.ImagePositionPatient, atol=1e-9)


def test_each_plane_knows_its_instance(noisy):
    volume = to_volume(noisy)
    frames = volume_frames(noisy[::-1])
    assert [frame.instance for frame in frames] == noisy
    for plane, frame in zip(volume.hu, frames, strict=True):
        np.testing.assert_array_equal(plane, hounsfield(frame))


def test_an_oblique_stack_keeps_its_own_slices(noisy):
    cosine, sine = np.cos(0.2), np.sin(0.2)
    matrix = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
    upright = to_volume(noisy)
    for instance in noisy:
        instance.ImagePositionPatient = list(matrix @ instance.ImagePositionPatient)
        instance.ImageOrientationPatient = [1, 0, 0, *(matrix @ [0, 1, 0])]
    volume = to_volume(noisy)
    np.testing.assert_array_equal(volume.hu, upright.hu)
    turned = matrix @ upright.geometry.affine[:3]
    np.testing.assert_allclose(volume.geometry.affine[:3], turned, atol=1e-9)


def test_the_instances_are_left_as_they_were(noisy):
    before = [instance.to_json() for instance in noisy]
    to_volume(noisy)
    assert [instance.to_json() for instance in noisy] == before


def test_a_refusal_names_the_class_the_residual_and_what_would_do(noisy):
    del noisy[2]
    message = r"gaps \(residual 0\.667 mm\): 1 of 3 steps .* send the missing slices"
    with pytest.raises(UnsupportedSeries, match=message):
        to_volume(noisy)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_lossless_compression_changes_nothing(ct_series, syntax):
    instances = ct_series(slices=3, rows=32, columns=32)
    volume = to_volume(instances)
    for instance in instances:
        instance.compress(syntax, generate_instance_uid=False)
    assert same(to_volume(instances), volume)


def test_an_empty_patient_id_stays_empty(noisy, tmp_path):
    for instance in noisy:
        instance.PatientID = ""
    instances = read_series(write(noisy, tmp_path))
    to_volume(instances)
    assert {instance.PatientID for instance in instances} == {""}


def test_a_series_without_frame_of_reference_is_refused_and_told_of_the_way_out(noisy):
    for instance in noisy:
        del instance.FrameOfReferenceUID
    with pytest.raises(UnsupportedSeries, match="ask that one be derived from the series"):
        to_volume(noisy)


def test_a_frame_of_reference_is_derived_only_when_asked_for(noisy, tmp_path):
    for instance in noisy:
        del instance.FrameOfReferenceUID
    paths = write(noisy, tmp_path)
    with pytest.raises(UnsupportedSeries, match="FrameOfReferenceUID"):
        to_volume(read_series(paths))

    instances = read_series(paths, derive_frame_of_reference=True)
    expected = derived_frame_of_reference(noisy[0].SeriesInstanceUID)
    assert to_volume(instances).geometry.frame_of_reference == expected
    assert has_derived_frame_of_reference(instances)
    assert not has_derived_frame_of_reference(read_series(paths))


def test_a_frame_of_reference_that_is_there_is_kept(noisy, tmp_path):
    instances = read_series(write(noisy, tmp_path), derive_frame_of_reference=True)
    assert instances[0].FrameOfReferenceUID == noisy[0].FrameOfReferenceUID
    assert not has_derived_frame_of_reference(instances)


def test_a_file_that_is_no_dicom_is_refused_by_name(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("not an image " * 30)
    with pytest.raises(UnsupportedSeries, match=r"notes\.txt is no whole DICOM file"):
        read_series([path])


@pytest.mark.filterwarnings("ignore:End of file reached", "ignore:Invalid value for VR UI")
@pytest.mark.parametrize("pixels", [True, False])
@pytest.mark.parametrize("syntax", [None, RLELossless])
def test_a_file_cut_short_anywhere_is_refused(ct_series, tmp_path, syntax, pixels):
    instances = ct_series(slices=2)
    if syntax:
        instances[1].compress(syntax, generate_instance_uid=False)
    paths = write(instances, tmp_path)
    whole = paths[1].read_bytes()
    assert to_volume(read_series(paths, pixels=pixels)).hu.shape == (2, 16, 20)
    for size in range(0, len(whole) - 2, 7):
        paths[1].write_bytes(whole[:size])
        with pytest.raises(UnsupportedSeries):
            to_volume(read_series(paths, pixels=pixels))


def test_pixels_read_one_by_one_make_the_same_volume_and_none_stay(noisy, tmp_path):
    noisy[1].compress(RLELossless, generate_instance_uid=False)
    instances = read_series(write(noisy, tmp_path), pixels=False)
    assert same(to_volume(instances), to_volume(noisy))
    assert not any("PixelData" in each for each in instances)


def test_the_pixels_of_many_frames_are_read_at_once(noisy, enhanced_ct, tmp_path):
    whole = enhanced_ct(noisy)
    (read,) = read_series(write([whole], tmp_path), pixels=False)
    assert read.PixelData == whole.PixelData
    assert same(to_volume([read]), to_volume(noisy))


def test_a_series_may_come_from_memory(noisy):
    buffer = DicomBytesIO()
    noisy[0].save_as(buffer, enforce_file_format=True)
    buffer.seek(0)
    assert same(to_volume([dcmread(buffer), *noisy[1:]]), to_volume(noisy))


@pytest.mark.parametrize("folder", ["ct/chaos3/dicom", "ct/lits0", "ct/dcmqi3"])
def test_real_stacks_become_volumes(real_series, folder):
    instances = real_series(folder)
    volume = to_volume(instances)
    assert volume.hu.shape == (len(instances), 512, 512)
    assert volume.hu.min() >= -1024  # padding of -2000 and -3024 among them
    np.testing.assert_array_less(0, np.diag(volume.geometry.affine[:3, 2::-1]))
    for index, frame in enumerate(volume_frames(instances)):
        row = 511 if float(frame.instance.ImageOrientationPatient[4]) < 0 else 0
        position = (volume.geometry.affine @ [index, row, 0, 1])[:3]
        np.testing.assert_allclose(position, frame.instance.ImagePositionPatient, atol=1e-3)


def test_blank_uids_are_refused_and_filled_in_they_are_not(real_series):
    instances = real_series("ct/totalseg20/dicom")[:3]
    with pytest.raises(UnsupportedSeries, match="SOPClassUID is blank in 3 of 3 slices"):
        to_volume(instances)
    for index, instance in enumerate(instances):
        instance.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        instance.SOPInstanceUID = f"2.25.{index + 1}"
        instance.StudyInstanceUID, instance.SeriesInstanceUID = "2.25.10", "2.25.11"
    volume = to_volume(instances)
    assert volume.hu.shape == (3, 512, 512)
    assert volume.geometry.spacing[0] == pytest.approx(2)
