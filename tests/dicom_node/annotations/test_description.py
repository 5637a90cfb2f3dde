"""Liver and tumour segments are recognised by code, and by label only where the code is no help."""

import pytest
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from dicom_node.annotations.description import (
    Author,
    describe_metadata,
    describe_segmentation,
    drawn_on,
    segments_of,
)
from engine.volume import Label


def coded(code: Code) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code[:3]
    return item


def segment(number: int, kind: Code, label: str = "", region: Code | None = None) -> Dataset:
    item = Dataset()
    item.SegmentNumber, item.SegmentLabel = number, label
    item.SegmentAlgorithmType = "AUTOMATIC"
    item.SegmentedPropertyTypeCodeSequence = [coded(kind)]
    if region:
        item.AnatomicRegionSequence = [coded(region)]
    return item


def segmentation(*segments: Dataset, series: tuple[str, ...] = ("1.2.3",)) -> Dataset:
    seg = Dataset()
    seg.Manufacturer = "Another"
    seg.SegmentSequence = list(segments)
    seg.ReferencedSeriesSequence = [Dataset() for _ in series]
    for item, uid in zip(seg.ReferencedSeriesSequence, series, strict=True):
        item.SeriesInstanceUID = uid
    return seg


@pytest.mark.parametrize(
    ("kind", "label", "marked"),
    [
        (codes.SCT.Liver, "", Label.LIVER),
        (codes.SCT.Metastasis, "", Label.TUMOUR),
        (codes.SCT.Tissue, "Segment: HCC 2", Label.TUMOUR),
        (codes.SCT.Tissue, "liver tumour", Label.TUMOUR),
        (codes.SCT.Tissue, "Liver", Label.LIVER),
        (codes.SCT.Tissue, "delivery", None),
        (codes.SCT.Spleen, "liver tumour", None),
    ],
)
def test_a_segment_is_recognised_by_its_code_and_a_tissue_by_its_label(kind, label, marked):
    seg = segmentation(segment(7, kind, label))
    assert segments_of(seg, Label.LIVER) == ([7] if marked is Label.LIVER else [])
    assert segments_of(seg, Label.TUMOUR) == ([7] if marked is Label.TUMOUR else [])


def test_a_tumour_counts_in_the_liver_or_without_a_region_but_not_elsewhere():
    seg = segmentation(
        segment(1, codes.SCT.Neoplasm, region=codes.SCT.Kidney),
        segment(2, codes.SCT.Neoplasm, region=codes.SCT.Liver),
        segment(3, codes.SCT.Neoplasm),
    )
    assert segments_of(seg, Label.TUMOUR) == [2, 3]


def test_a_segmentation_of_several_series_or_of_none_is_drawn_on_no_series():
    assert drawn_on(segmentation()) == "1.2.3"
    assert drawn_on(segmentation(series=("1.2.3", "1.2.3"))) == "1.2.3"
    assert drawn_on(segmentation(series=("1.2.3", "1.2.4"))) == ""
    assert drawn_on(Dataset()) == ""


@pytest.mark.parametrize("by_hand", ["MANUAL", "SEMIAUTOMATIC"])
def test_one_segment_drawn_by_hand_makes_a_person_the_author(by_hand):
    seg = segmentation(segment(1, codes.SCT.Liver), segment(2, codes.SCT.Neoplasm))
    assert describe_segmentation(seg).author is Author.MACHINE
    seg.Manufacturer = "Hepar"
    assert describe_segmentation(seg).author is Author.HEPAR
    seg.SegmentSequence[1].SegmentAlgorithmType = by_hand
    assert describe_segmentation(seg).author is Author.PERSON


def test_a_structure_is_drawn_by_a_person_as_soon_as_one_of_its_segments_is():
    seg = segmentation(
        segment(1, codes.SCT.Liver), segment(2, codes.SCT.Neoplasm), segment(3, codes.SCT.Neoplasm)
    )
    assert describe_segmentation(seg).drawn == set()
    seg.SegmentSequence[2].SegmentAlgorithmType = "MANUAL"
    assert describe_segmentation(seg).drawn == {Label.TUMOUR}
    assert describe_segmentation(seg).marks == {Label.LIVER, Label.TUMOUR}


def test_a_correction_is_known_by_hepar_among_the_contributing_equipment():
    seg = segmentation(segment(1, codes.SCT.Liver))
    assert not describe_segmentation(seg).after_hepar
    seg.ContributingEquipmentSequence = [Dataset()]
    seg.ContributingEquipmentSequence[0].Manufacturer = "Hepar"
    assert describe_segmentation(seg).after_hepar


def test_metadata_in_json_are_described_like_the_object():
    seg = segmentation(segment(1, codes.SCT.Liver), segment(2, codes.SCT.Mass))
    seg.ContentLabel, seg.ContentDate, seg.ContentTime = "GOLD", "20260131", "120000"
    described = describe_metadata(seg.to_json_dict())
    assert described == describe_segmentation(seg)
    assert described.marks == {Label.LIVER, Label.TUMOUR}
    assert (described.content_label, described.written) == ("GOLD", "20260131120000")


def test_a_segmentation_without_segments_dates_and_label_is_described_as_such():
    described = describe_segmentation(Dataset())
    assert described.author is Author.MACHINE
    assert described.marks == frozenset()
    assert not described.after_hepar
    assert (described.series_uid, described.content_label, described.written) == ("", "", "")


def test_the_description_names_the_source_series():
    assert describe_segmentation(segmentation(segment(1, codes.SCT.Liver))).series_uid == "1.2.3"


def test_a_long_code_value_counts_and_a_code_of_no_scheme_does_not():
    long, without_scheme = segment(1, codes.SCT.Neoplasm), segment(2, codes.SCT.Neoplasm)
    (kind,) = long.SegmentedPropertyTypeCodeSequence
    kind.LongCodeValue = kind.CodeValue
    del kind.CodeValue
    del without_scheme.SegmentedPropertyTypeCodeSequence[0].CodingSchemeDesignator
    assert segments_of(segmentation(long, without_scheme), Label.TUMOUR) == [1]
