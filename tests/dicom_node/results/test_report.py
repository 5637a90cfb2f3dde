import random
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from pydicom import dcmread

from dicom_node.errors import ResultMismatch
from dicom_node.results.attributes.tracking import track
from dicom_node.results.seg import encode
from dicom_node.verify.report import verify_report
from dicom_node.verify.report_groups import read_groups
from engine.findings.domain import Outside
from engine.findings.quality import Concern, Quality
from engine.manifest import Feature, Range
from tests.dicom_node.drawing import draw_case
from tests.system.judges import dciodvfy, report_by_dcmqi

REVIEW = Quality((Concern.SMALL, Concern.LAST_SLICE))
NOISY = Quality(
    (Concern.SMALL, Concern.OTHER_NOISE),
    (Outside(Feature.NOISE, 45.0, Range(low=0.0, high=17.8)),),
)


@pytest.fixture
def case(ct_series):
    return draw_case(ct_series(slices=9, rows=20, columns=24))


def verify(case, file, quality=REVIEW, seg=None):
    verify_report(file, seg or case.seg(), case.label_map, case.measured, quality, case.sources)


def test_a_report_says_what_was_measured(case):
    verify(case, encode(case.report(quality=REVIEW)))
    assert len(case.measured.lesions) == 3


def test_a_report_states_what_lies_outside_of_what_was_learnt_by_code_and_value(case, tmp_path):
    path = tmp_path / "report.dcm"
    path.write_bytes(encode(case.report(quality=NOISY)))
    verify(case, path, NOISY)
    *_, whole = read_groups(dcmread(path))
    assert [value for _, value in whole.evaluations] == ["review", "small", "other-noise"]
    assert whole.comments == ("noise of 45 HU in the liver; learnt: 0 to 17.8",)
    status, words = dciodvfy(path)
    assert status == 0, words


def test_a_report_with_another_value_is_refused_and_has_another_uid(case):
    value = Outside(Feature.NOISE, 46.0, Range(low=0.0, high=17.8))
    other = replace(NOISY, outside=(value,))
    with pytest.raises(ResultMismatch, match="the report comments"):
        verify(case, encode(case.report(quality=NOISY)), other)
    reports = [case.report(quality=each) for each in (NOISY, other)]
    assert reports[0].SOPInstanceUID != reports[1].SOPInstanceUID


def test_another_toolkit_reads_the_same_numbers_of_the_same_segments(case, tmp_path):
    path = tmp_path / "report.dcm"
    path.write_bytes(encode(case.report(quality=REVIEW)))
    *found, whole = report_by_dcmqi(path, tmp_path)
    drawn, (liver, *lesions) = found[::2], found[1::2]
    for read, lesion in zip(drawn[1:], case.measured.lesions, strict=True):
        long_axis, short_axis = (float(item["value"]) for item in read["measurementItems"])
        assert long_axis == pytest.approx(lesion.longest_mm, abs=1e-3)
        assert short_axis == pytest.approx(lesion.perpendicular_mm, abs=1e-3)
    assert (liver["ReferencedSegment"], whole["TrackingIdentifier"]) == (1, "Liver with tumours")
    for read, lesion in zip(lesions, case.measured.lesions, strict=True):
        assert read["ReferencedSegment"] == 2
        assert read["segmentationSOPInstanceUID"] == case.seg().SOPInstanceUID
        assert read["SourceSeriesForImageSegmentation"] == case.sources[0].SeriesInstanceUID
        assert read["TrackingIdentifier"] == f"Lesion {lesion.number}"
        volume, mean, deviation = (float(item["value"]) for item in read["measurementItems"])
        region = lesion.region
        expected = [region.volume_ml, region.mean_hu, region.sd_hu]
        assert [volume, mean, deviation] == pytest.approx(expected, abs=1e-3)
    said = [item["conceptValue"]["CodeMeaning"] for item in whole["qualitativeEvaluations"]]
    assert said == ["Review", "Liver smaller than expected", "Liver reaches the last slice"]


def test_the_validator_finds_no_error(case, tmp_path):
    path = tmp_path / "report.dcm"
    path.write_bytes(encode(case.report(quality=REVIEW)))
    status, words = dciodvfy(path)
    assert status == 0, words


def test_the_same_work_twice_is_the_same_report_whatever_the_order(case):
    first = encode(case.report())
    random.Random(2).shuffle(case.sources)
    assert encode(case.report()) == first


def test_the_report_belongs_to_the_patient_and_study_and_names_all_its_evidence(case):
    report = dcmread(BytesIO(encode(case.report())))
    source = case.sources[0]
    for keyword in ("PatientID", "PatientName", "StudyInstanceUID", "AccessionNumber"):
        assert report[keyword].value == source[keyword].value
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    named = {
        item.ReferencedSOPInstanceUID
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }
    assert named == {str(each.SOPInstanceUID) for each in [*case.sources, case.seg()]}
    assert (report.CompletionFlag, report.VerificationFlag) == ("COMPLETE", "UNVERIFIED")
    assert "base" in [
        item.get("ManufacturerModelName") for item in report.ContributingEquipmentSequence
    ]


def test_an_empty_patient_id_stays_empty(ct_series):
    sources = ct_series(slices=9, rows=20, columns=24)
    for source in sources:
        source.PatientID = ""
    assert not draw_case(sources).report().PatientID


def test_a_liver_without_lesions_has_a_report_too(ct_series):
    case = draw_case(ct_series(slices=9, rows=20, columns=24), lesions=0)
    file = encode(case.report())
    verify(case, file, Quality())
    assert len(read_groups(dcmread(BytesIO(file)))) == 2


def test_a_lesion_keeps_its_uid_when_another_is_no_longer_found(ct_series):
    sources = ct_series(slices=9, rows=20, columns=24)
    series = sources[0].SeriesInstanceUID
    three, two = (draw_case(sources, lesions).measured.lesions for lesions in (3, 2))
    uids = [tracking.uid for tracking in track(three, series)]
    assert len(set(uids)) == 3
    assert [tracking.uid for tracking in track(two, series)] == uids[:2]
    later = [replace(lesion, number=lesion.number - 1) for lesion in three[1:]]
    assert [tracking.uid for tracking in track(later, series)] == uids[1:]
    assert not set(uids) & {tracking.uid for tracking in track(three, "1.2.3")}


def _change(report, kind, group, number, change):
    groups = [
        item
        for child in report.ContentSequence
        if child.ConceptNameCodeSequence[0].CodeValue == "126010"
        for item in child.ContentSequence
    ]
    items = [item for item in groups[group].ContentSequence if item.ValueType == kind]
    change(items[number])


def _number(value):
    def change(item):
        item.MeasuredValueSequence[0].NumericValue = value

    return change


def _segment(number):
    def change(item):
        item.ReferencedSOPSequence[0].ReferencedSegmentNumber = number

    return change


def _line(points=None, image=None):
    def change(item):
        drawn = item.ContentSequence[0]
        if points:
            drawn.GraphicData = points
        if image:
            drawn.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID = image

    return change


def _shifted(item):
    drawn = item.ContentSequence[0]
    drawn.GraphicData = [number + 2 for number in drawn.GraphicData]


def _turned(item):
    """Turn the line about its middle by 5 degrees, in millimetres: the length stays."""
    drawn = item.ContentSequence[0]
    ends = np.reshape(drawn.GraphicData, (2, 2)) * (0.7, 0.5)
    turn = np.radians(5)
    matrix = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    middle = ends.mean(axis=0)
    drawn.GraphicData = (((ends - middle) @ matrix + middle) / (0.7, 0.5)).ravel().tolist()


def _other_seg(item):
    item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID = "1.2.3"


@pytest.mark.parametrize(
    ("kind", "group", "number", "change", "complaint"),
    [
        ("NUM", 1, 0, _number("1"), "measurement group 1 says 1.0 of"),
        ("NUM", 2, 0, _number("99"), "measurement group 2 says 99.0 of"),
        ("NUM", -1, 3, _number("4"), "whole liver says 4.0 of"),
        ("NUM", 2, 0, _line(points=[1, 1, 5, 5]), "measurement group 2 has a line of"),
        ("NUM", 2, 0, _shifted, "measurement group 2 has a line that ends outside"),
        ("NUM", 4, 0, _line(image="1.2.3"), "measurement group 3 has a line on an image that is"),
        ("NUM", 2, 1, _turned, "diameters of measurement group 2 are not perpendicular"),
        ("IMAGE", 3, 0, _segment(1), "refers to segment 1, which is no tumour"),
        ("IMAGE", 1, 0, _other_seg, r"measurement group 1 refers to \('1.2.3', 1\)"),
    ],
)
def test_a_report_that_says_anything_else_does_not_pass(
    case, kind, group, number, change, complaint
):
    report = dcmread(BytesIO(encode(case.report(quality=REVIEW))))
    _change(report, kind, group, number, change)
    with pytest.raises(ResultMismatch, match=complaint):
        verify(case, encode(report))


def test_a_report_of_another_quality_does_not_pass(case):
    with pytest.raises(ResultMismatch, match="of the quality, not plausible"):
        verify(case, encode(case.report(quality=REVIEW)), Quality())


def test_a_report_of_other_labels_does_not_pass(case):
    seg = case.seg()
    file = encode(case.report(seg, quality=REVIEW))
    case.label_map.labels[4, 12, 12:18] = 0
    with pytest.raises(ResultMismatch, match="are in the label map"):
        verify(case, file, seg=seg)
