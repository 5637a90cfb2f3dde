"""Equal work has the equal UID, other content another; results tell when and of what they are."""

from dataclasses import replace
from datetime import timedelta
from io import BytesIO

import pytest
from pydicom import dcmread
from pydicom.uid import UID

from dicom_node.results.attributes.model_run import ModelRun
from dicom_node.results.attributes.number_register import NumbersOfRun
from dicom_node.results.attributes.series_description import series_description
from dicom_node.results.objects import ObjectKind
from dicom_node.results.seg import encode
from dicom_node.results.series_identity import notice_number, series_number
from tests.dicom_node.drawing import ALGORITHM, MADE_AT, RUN, draw_case


@pytest.fixture
def case(ct_series):
    return draw_case(ct_series(slices=9, rows=20, columns=24))


def uids(made):
    return made.SeriesInstanceUID, made.SOPInstanceUID, made.file_meta.MediaStorageSOPInstanceUID


def test_equal_work_at_another_time_has_the_equal_uids(case):
    later = replace(RUN, at=MADE_AT + timedelta(days=9))
    first, second = case.seg(), case.seg(run=later)
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
    assert not set(uids(case.seg())) & set(uids(case.seg(run=replace(RUN, **change))))


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
    found = series_description("liver+tumours", case.sources, RUN)
    assert len(found) <= 64
    assert found.startswith("Hepar liver+tumours · 5 Portal venous")
    assert found.endswith("… · 9 sl, 1.0")
    long = replace(ALGORITHM, version="v" * 90)
    assert len(series_description("liver+tumours", case.sources, ModelRun(long))) <= 64


@pytest.mark.parametrize("value", [["A", "B"], "A\\B"])
def test_a_backslash_in_the_source_makes_no_second_value(case, value):
    for source in case.sources:
        source.SeriesDescription = value
    assert dcmread(BytesIO(encode(case.seg())))["SeriesDescription"].VM == 1


def test_numbers_of_a_study_never_collide(case):
    """Numbers as Philips gives them: 301 plus 9000 was 101 plus 9200."""
    (source,), register = case.sources[:1], NumbersOfRun()
    numbers = []
    beyond = [None, "", -3, 2000, 2148, 9999, 99999, 2**31 - 1]
    for number in [*range(1, 60), *range(101, 2000, 100), *beyond]:
        source.SeriesNumber = number
        numbers += [
            series_number(kind, source, f"1.2.{number}.{kind}", register) for kind in ObjectKind
        ]
    assert len(set(numbers)) == len(numbers)
    assert all(2000 < number < 2**31 for number in numbers)


@pytest.mark.parametrize("number", [5, None, 5_000_000])
def test_no_two_of_a_thousand_results_of_one_kind_have_one_number(case, number):
    """Chosen by their UIDs alone, about five of a thousand numbers in a range are there twice."""
    (source,), register = case.sources[:1], NumbersOfRun()
    source.SeriesNumber = number
    uids = [f"1.2.{index}" for index in range(1000)]
    numbers = [series_number(ObjectKind.SEG, source, each, register) for each in uids]
    assert len(set(numbers)) == len(numbers)
    again = [series_number(ObjectKind.SEG, source, each, register) for each in reversed(uids)]
    assert again[::-1] == numbers


def test_two_stacks_with_one_number_in_one_study_are_told_apart(case, monkeypatch):
    """Every UID chooses the same number here."""
    monkeypatch.setattr(
        "dicom_node.results.series_identity._numbers", lambda *_: iter(range(7, 99))
    )
    register = NumbersOfRun()
    made = [case.seg(run=replace(RUN, stack=stack, numbers=register)) for stack in ("1", "2", "1")]
    assert [each.SeriesNumber for each in made] == [7, 8, 7]
    assert made[0] == made[2]


def test_a_source_has_its_own_number_alone(case):
    """Numbers of sources are free; one of them may be that which a result would take."""
    (source,) = case.sources[:1]
    source.SeriesNumber = 5
    wanted = series_number(ObjectKind.SEG, source, "1.2.3", NumbersOfRun())
    register = NumbersOfRun()
    source.SeriesInstanceUID, source.SeriesNumber = "1.2.4", wanted
    assert series_number(ObjectKind.SEG, source, "1.2.5", register) != wanted
    source.SeriesInstanceUID, source.SeriesNumber = "1.2.6", 5
    assert series_number(ObjectKind.SEG, source, "1.2.3", register) == wanted + 1


def test_a_notice_is_behind_all_results_and_collides_with_none(case):
    register = NumbersOfRun()
    notices = {notice_number("1.2", f"1.2.{each}", register) for each in range(1000)}
    assert len(notices) == 1000
    case.sources[0].SeriesNumber = None
    results = {series_number(kind, case.sources[0], "1.2.3", register) for kind in ObjectKind}
    assert max(results) < min(notices) < max(notices) < 2**31


def test_results_of_one_series_by_two_models_have_two_numbers(case):
    second = replace(RUN, algorithm=replace(ALGORITHM, version="1.1"))
    assert case.seg().SeriesNumber != case.seg(run=second).SeriesNumber


def test_the_leading_digits_are_the_number_of_the_source(case):
    for source in case.sources:
        source.SeriesNumber = 301
    assert str(case.seg().SeriesNumber)[:3] == "301"
    assert str(case.report().SeriesNumber)[:4] == "3011"
