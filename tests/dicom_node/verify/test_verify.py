from io import BytesIO

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid

from dicom_node.errors import SegMismatch
from dicom_node.results.seg import encode
from dicom_node.verify.seg import verify_seg
from engine.volume import Geometry, Label, LabelMap
from tests.dicom_node.results.test_seg import draw, write


@pytest.fixture
def sources(ct_series):
    return ct_series(slices=9, rows=15, columns=21)  # 315 pixels: frames begin within a byte


@pytest.fixture
def drawn(sources):
    return draw(sources)


@pytest.fixture
def seg(sources, drawn):
    """The SEG as it was read back, to be spoilt."""
    return dcmread(BytesIO(encode(write(drawn, sources))))


def frame(seg: Dataset, index: int) -> Dataset:
    return seg.PerFrameFunctionalGroupsSequence[index]


def test_what_was_written_passes(seg, sources, drawn, tmp_path):
    verify_seg(encode(seg), sources[::-1], drawn)
    path = tmp_path / "seg.dcm"
    path.write_bytes(encode(seg))
    verify_seg(path, sources, drawn)


def shift_a_plane(seg):
    frame(seg, 1).PlanePositionSequence[0].ImagePositionPatient[2] += 2.0


def shift_a_plane_a_little(seg):
    frame(seg, 1).PlanePositionSequence[0].ImagePositionPatient[0] += 0.2


def turn_the_rows(seg):
    (orientation,) = seg.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
    orientation.ImageOrientationPatient = [1, 0, 0, 0, -1, 0]


def stretch_the_pixels(seg):
    seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [0.5, 0.75]


def swap_the_segments(seg):
    liver, tumour = seg.SegmentSequence
    liver.SegmentedPropertyTypeCodeSequence, tumour.SegmentedPropertyTypeCodeSequence = (
        tumour.SegmentedPropertyTypeCodeSequence,
        liver.SegmentedPropertyTypeCodeSequence,
    )


def rename_a_segment(seg):
    seg.SegmentSequence[1].SegmentedPropertyTypeCodeSequence[0].CodeValue = "64033007"  # kidney


def alter_the_frame_of_reference(seg):
    seg.FrameOfReferenceUID = generate_uid()


def drop_the_frame_of_reference(seg):
    del seg.FrameOfReferenceUID


def drop_the_last_frame(seg):
    pixels = seg.Rows * seg.Columns
    seg.NumberOfFrames -= 1
    del seg.PerFrameFunctionalGroupsSequence[-1]
    kept = (pixels * seg.NumberOfFrames + 7) // 8
    seg.PixelData = seg.PixelData[: kept + kept % 2]


def show_a_frame_twice(seg):
    seg.NumberOfFrames += 1
    seg.PerFrameFunctionalGroupsSequence.append(frame(seg, 0))
    bits = np.unpackbits(np.frombuffer(seg.PixelData, np.uint8), bitorder="little")
    pixels = seg.Rows * seg.Columns
    used = bits[: pixels * (seg.NumberOfFrames - 1)]
    packed = np.packbits(np.concatenate([used, used[:pixels]]), bitorder="little").tobytes()
    seg.PixelData = packed + b"\0" * (len(packed) % 2)


def count_one_frame_less(seg):
    seg.NumberOfFrames -= 1


def cut_the_pixels(seg):
    seg.PixelData = seg.PixelData[:-100]


def flip_a_pixel(seg):
    seg.PixelData = bytes([seg.PixelData[0] ^ 1]) + seg.PixelData[1:]


def derive_from_the_neighbour(seg):
    for index in (0, 1):
        frame(seg, index).DerivationImageSequence = frame(seg, 1).DerivationImageSequence


def derive_from_a_stranger(seg):
    (image,) = frame(seg, 0).DerivationImageSequence[0].SourceImageSequence
    image.ReferencedSOPInstanceUID = "1.2.3"


def derive_from_nothing(seg):
    del frame(seg, 0).DerivationImageSequence


def take_another_patient(seg):
    seg.PatientID = "TEST-2"


def take_another_study(seg):
    seg.StudyInstanceUID = generate_uid()


def lose_a_position(seg):
    del frame(seg, 0).PlanePositionSequence


def become_fractional(seg):
    seg.SegmentationType = "FRACTIONAL"


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (shift_a_plane, r"frame 2 \(Liver\) lies 2.000 mm from its source"),
        (shift_a_plane_a_little, r"frame 2 \(Liver\) lies 0.200 mm from its source"),
        (turn_the_rows, r"frame 1 \(Liver\) lies 14.000 mm from its source"),
        (stretch_the_pixels, r"frame 1 \(Liver\) lies 1.000 mm from its source"),
        (swap_the_segments, r"frame 1 \(Tumour\) differs from slice 7 .* in \d+ pixels"),
        (rename_a_segment, "cannot be read back: .*64033007"),
        (alter_the_frame_of_reference, "frame of reference .* is not the source's"),
        (drop_the_frame_of_reference, "frame of reference None is not the source's"),
        (drop_the_last_frame, "no frame shows tumour in slice 4"),
        (show_a_frame_twice, "2 frames show liver in slice 7"),
        (count_one_frame_less, "6 frames are described, 5 counted"),
        (cut_the_pixels, r"frame \d \(\w+\) has \d+ of 315 pixels"),
        (flip_a_pixel, r"frame 1 \(Liver\) differs from slice 7 of its label map in 1 pixels"),
        (derive_from_the_neighbour, r"frame 1 \(Liver\) lies 2.000 mm from its source"),
        (derive_from_a_stranger, r"frame 1 \(Liver\) is derived from .*1.2.3.* not a source"),
        (derive_from_nothing, r"frame 1 \(Liver\) names 0 source images"),
        (take_another_patient, "PatientID is not the source's"),
        (take_another_study, "StudyInstanceUID is not the source's"),
        (lose_a_position, "cannot be read back: .*PlanePositionSequence"),
        (become_fractional, "not a BINARY segmentation"),
    ],
)
def test_a_spoilt_object_is_told_by_frame_and_fault(seg, sources, drawn, spoil, says):
    spoil(seg)
    with pytest.raises(SegMismatch, match=says):
        verify_seg(encode(seg), sources, drawn)


def test_a_message_never_names_the_patient(seg, sources, drawn):
    take_another_patient(seg)
    with pytest.raises(SegMismatch) as caught:
        verify_seg(encode(seg), sources, drawn)
    assert "TEST" not in str(caught.value)


def test_a_label_map_shifted_by_one_slice_is_caught(seg, sources, drawn):
    shifted = LabelMap(np.roll(drawn.labels, 1, axis=0), drawn.geometry)
    with pytest.raises(SegMismatch, match="differs from slice"):
        verify_seg(encode(seg), sources, shifted)


def test_a_label_the_object_does_not_show_is_caught(seg, sources, drawn):
    labels = drawn.labels.copy()
    labels[0, 0, 0] = Label.LIVER
    with pytest.raises(SegMismatch, match="no frame shows liver in slice 0"):
        verify_seg(encode(seg), sources, LabelMap(labels, drawn.geometry))


def test_a_label_map_on_another_grid_is_caught(seg, sources, drawn):
    grid = drawn.geometry
    moved = grid.affine.copy()
    moved[:3, 3] += (0.0, 0.25, 0.0)  # half a pixel
    elsewhere = Geometry(grid.shape, moved, grid.frame_of_reference)
    with pytest.raises(SegMismatch, match=r"no slice of the label map.* 0\.50 voxels away"):
        verify_seg(encode(seg), sources, LabelMap(drawn.labels, elsewhere))


def test_a_label_map_in_another_frame_of_reference_is_caught(seg, sources, drawn):
    grid = Geometry(drawn.geometry.shape, drawn.geometry.affine, "1.2.3")
    with pytest.raises(SegMismatch, match=r"frame of reference 1\.2\.3 is not the source's"):
        verify_seg(encode(seg), sources, LabelMap(drawn.labels, grid))


@pytest.mark.parametrize("file", [b"", b"no DICOM at all"])
def test_what_is_no_dicom_is_no_seg(file, sources, drawn):
    with pytest.raises(SegMismatch, match="cannot be read back"):
        verify_seg(file, sources, drawn)
