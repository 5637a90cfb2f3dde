"""Equal work has the equal UID, other content another; results tell when and of what they are."""

from dataclasses import replace
from datetime import timedelta
from io import BytesIO

import pytest
from pydicom import dcmread
from pydicom.uid import UID

from dicom_node.results.attributes.making import Making
from dicom_node.results.attributes.series_description import series_description
from dicom_node.results.objects import ObjectKind
from dicom_node.results.seg import encode
from dicom_node.results.series_identity import series_number
from tests.dicom_node.drawing import ALGORITHM, MADE_AT, MAKING, draw_case


@pytest.fixture
def case(ct_series):
    return draw_case(ct_series(slices=9, rows=20, columns=24))


def uids(made):
    return made.SeriesInstanceUID, made.SOPInstanceUID, made.file_meta.MediaStorageSOPInstanceUID


def test_equal_work_at_another_time_has_the_equal_uids(case):
    later = replace(MAKING, at=MADE_AT + timedelta(days=9))
    first, second = case.seg(), case.seg(making=later)
    assert uids(first) == uids(second)
    assert first.SeriesNumber == second.SeriesNumber
    assert (first.ContentDate, second.ContentDate) == ("20260506", "20260515")
    assert UID(first.SOPInstanceUID).is_valid
    assert first.SOPInstanceUID.startswith("2.25.")


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientName", "CORRECTED^NAME"),
        ("PatientID", "P-CORRECTED"),
        ("PatientBirthDate", "19510101"),
        ("StudyDescription", "Another"),
        ("AccessionNumber", "A-2"),
        ("IssuerOfPatientID", "HOSPITAL"),
        ("InstitutionName", "Another hospital"),
        ("TimezoneOffsetFromUTC", "+0100"),
        ("SeriesDescription", "Portal"),
    ],
)
def test_other_headers_in_the_sources_are_another_object(case, keyword, value):
    before = case.seg(), case.report()
    for source in case.sources:
        setattr(source, keyword, value)
    for first, second in zip(before, (case.seg(), case.report()), strict=True):
        assert not set(uids(first)) & set(uids(second))


@pytest.mark.parametrize(
    "change",
    [
        {"algorithm": replace(ALGORITHM, device="OpenVINO CPU bfloat16")},
        {"algorithm": replace(ALGORITHM, digest="cd" * 32)},
        {"algorithm": replace(ALGORITHM, version="1.1")},
        {"source_digest": "of other pixels"},
        {"stack": "2 of 3"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_model_device_input_or_stack_is_another_object(case, change):
    assert not set(uids(case.seg())) & set(uids(case.seg(making=replace(MAKING, **change))))


def test_another_version_of_hepar_is_another_object(case, monkeypatch):
    before = case.seg()
    monkeypatch.setattr("dicom_node.results.series_identity.version", lambda _: "99.0")
    assert not set(uids(before)) & set(uids(case.seg()))


def test_one_voxel_more_is_another_object(case):
    before = case.seg()
    case.label_map.labels[4, 10, 15] ^= 3
    assert not set(uids(before)) & set(uids(case.seg()))


@pytest.mark.parametrize("kind", ["Series", "Content", "InstanceCreation"])
def test_a_report_states_when_it_was_made(case, kind):
    report = case.report()
    assert (report[f"{kind}Date"].value, report[f"{kind}Time"].value) == ("20260506", "070809")


def test_the_description_names_source_slices_and_version(case):
    for source in case.sources:
        source.SeriesNumber, source.SeriesDescription = 5, "Portal 1.5 mm"
        source.SpecificCharacterSet = "ISO_IR 192"
    seg = dcmread(BytesIO(encode(case.seg())))
    assert seg.SeriesDescription == "Hepar liver+tumours · 5 Portal 1.5 mm · 9 sl, 1.0"
    part = draw_case(case.sources[:7], lesions=2)
    assert part.seg().SeriesDescription != seg.SeriesDescription


@pytest.mark.parametrize(
    ("character_set", "text", "written"),
    [
        (None, "Portal", "Hepar liver - 5 Portal - 9 sl, 1.0"),
        ("ISO_IR 100", "Größe", "Hepar liver · 5 Größe · 9 sl, 1.0"),
        ("ISO_IR 101", "Łódź", "Hepar liver - 5 Łódź - 9 sl, 1.0"),
        ("GB18030", "腹部增强", "Hepar liver · 5 腹部增强 · 9 sl, 1.0"),
        (["", "ISO 2022 IR 87"], "腹部", "Hepar liver - 5 腹部 - 9 sl, 1.0"),
        ("UNKNOWN", "Portal", "Hepar liver - 5 Portal - 9 sl, 1.0"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_description_is_written_in_the_character_set_of_the_source(
    ct_series, character_set, text, written
):
    sources = ct_series(slices=9, rows=20, columns=24)
    for source in sources:
        source.SeriesNumber, source.SeriesDescription = 5, text
        if character_set:
            source.SpecificCharacterSet = character_set
        else:
            source.pop("SpecificCharacterSet", None)
    read = dcmread(BytesIO(encode(draw_case(sources, lesions=0).seg())))
    assert read.SeriesDescription == written


def test_a_long_description_is_cut_and_the_rest_stays(case):
    case.sources[0].SeriesNumber, case.sources[0].SeriesDescription = 5, "Portal venous " * 4
    found = series_description("liver+tumours", case.sources, MAKING)
    assert len(found) <= 64
    assert found.startswith("Hepar liver+tumours · 5 Portal venous")
    assert found.endswith("… · 9 sl, 1.0")
    long = replace(ALGORITHM, version="v" * 90)
    assert len(series_description("liver+tumours", case.sources, Making(long))) <= 64


@pytest.mark.parametrize("value", [["A", "B"], "A\\B"])
def test_a_backslash_in_the_source_makes_no_second_value(case, value):
    for source in case.sources:
        source.SeriesDescription = value
    assert dcmread(BytesIO(encode(case.seg())))["SeriesDescription"].VM == 1


def test_numbers_of_a_study_never_collide(case):
    """Numbers as Philips gives them: 301 plus 9000 was 101 plus 9200."""
    (source,) = case.sources[:1]
    numbers = []
    beyond = [None, "", -3, 2000, 2148, 9999, 99999, 2**31 - 1]
    for number in [*range(1, 60), *range(101, 2000, 100), *beyond]:
        source.SeriesNumber = number
        numbers += [series_number(kind, source, f"1.2.{number}.{kind}") for kind in ObjectKind]
    assert len(set(numbers)) == len(numbers)
    assert all(2000 < number < 2**31 for number in numbers)


def test_results_of_one_series_by_two_models_have_two_numbers(case):
    second = replace(MAKING, algorithm=replace(ALGORITHM, version="1.1"))
    assert case.seg().SeriesNumber != case.seg(making=second).SeriesNumber


def test_the_leading_digits_are_the_number_of_the_source(case):
    for source in case.sources:
        source.SeriesNumber = 301
    assert str(case.seg().SeriesNumber)[:3] == "301"
    assert str(case.report().SeriesNumber)[:4] == "3011"
