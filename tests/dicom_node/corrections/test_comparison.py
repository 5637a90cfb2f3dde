"""Dice of a result against what a person made of it."""

import numpy as np
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, RLELossless

from dicom_node.corrections.comparison import compare
from dicom_node.errors import UnreadableDrawing
from engine.volume import Label
from tests.dicom_node.corrections.drawn import drawn_on


@pytest.fixture
def drawn(ct_series):
    return drawn_on(ct_series(slices=6, rows=16, columns=16))


def test_what_a_person_left_as_it_was_agrees(drawn):
    same = drawn.seg(drawn.result.labels)
    assert compare(same, drawn.result) == {"liver": 1.0, "tumour": 1.0}


def test_the_liver_counts_with_its_tumours_and_each_is_compared(drawn):
    labels = drawn.result.labels.copy()
    labels[1:5, 2:7, 2:12] = Label.BACKGROUND  # half of the liver, the tumour in it
    labels[2:4, 8:10, 8:10] = Label.TUMOUR
    found = compare(drawn.seg(labels), drawn.result)
    assert found == {"liver": pytest.approx(2 * 200 / (200 + 400)), "tumour": 0.0}


def test_a_correction_of_one_structure_is_compared_with_that_alone(drawn):
    labels = drawn.result.labels
    assert compare(drawn.seg(labels, [Label.TUMOUR]), drawn.result) == {"tumour": 1.0}
    liver = np.where(labels > 0, Label.LIVER, 0)
    assert compare(drawn.seg(liver, [Label.LIVER]), drawn.result) == {"liver": 1.0}


@pytest.mark.parametrize(
    ("by_person", "dice"), [(Label.LIVER, {"liver": 1.0}), (Label.TUMOUR, {"tumour": 1.0})]
)
def test_what_a_machine_drew_beside_a_person_is_not_compared(drawn, by_person, dice):
    """The liver's own segment leaves the tumours out, which are a machine's."""
    seg = drawn.seg(drawn.result.labels)
    for each in seg.SegmentSequence:
        if each.SegmentLabel != by_person.name.title():
            each.SegmentAlgorithmType = "AUTOMATIC"
    assert compare(seg, drawn.result) == dice


def test_tumours_that_a_person_took_away_count_against_the_result(drawn):
    liver = np.where(drawn.result.labels > 0, Label.LIVER, 0)
    assert compare(drawn.seg(liver), drawn.result) == {"liver": 1.0, "tumour": 0.0}


def test_another_frame_of_reference_is_refused(drawn):
    seg = drawn.seg(drawn.result.labels)
    seg.FrameOfReferenceUID = "1.2.3"
    with pytest.raises(UnreadableDrawing, match=r"frame of reference 1\.2\.3"):
        compare(seg, drawn.result)


@pytest.mark.parametrize(("keyword", "value"), [("NumberOfFrames", 999), ("Rows", 9999)])
def test_more_than_its_series_has_is_refused_before_it_is_decoded(drawn, keyword, value):
    seg = drawn.seg(drawn.result.labels)
    setattr(seg, keyword, value)
    with pytest.raises(UnreadableDrawing, match="on a series of 6 slices of 16x16"):
        compare(seg, drawn.result)


def test_frames_far_apart_are_refused_before_a_volume_is_made_of_them(drawn):
    seg = drawn.seg(drawn.result.labels)
    last = seg.PerFrameFunctionalGroupsSequence[-1].PlanePositionSequence[0]
    *across, z = last.ImagePositionPatient
    last.ImagePositionPatient = [*across, z + 2e6]
    with pytest.raises(
        UnreadableDrawing, match=r"SEG spans \d{6,}x16x16 voxels, its series 6x16x16"
    ):
        compare(seg, drawn.result)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, RLELossless])
def test_a_stream_that_is_not_what_its_header_says_is_refused_before_it_is_decoded(drawn, syntax):
    seg = drawn.seg(drawn.result.labels)
    streams = [b"\xff\x4f\xff\x51 no picture of any size"] * int(seg.NumberOfFrames)
    seg.PixelData = encapsulate(streams)
    seg["PixelData"].is_undefined_length = True
    seg.file_meta.TransferSyntaxUID = syntax
    with pytest.raises(UnreadableDrawing, match="SEG cannot be decoded: "):
        compare(seg, drawn.result)
