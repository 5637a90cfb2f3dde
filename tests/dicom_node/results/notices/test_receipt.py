"""Receipts: of whom, when, and what they say, with whatever headers the series has."""

from datetime import UTC, datetime
from io import BytesIO

import pytest
from pydicom import DataElement, dcmread
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from dicom_node.results.attributes.number_register import NumbersOfRun
from dicom_node.results.notices.receipt import to_receipt
from tests.system.judges import dciodvfy


@pytest.fixture
def source(ct_series):
    (source,) = ct_series(slices=1)
    source.SeriesNumber = 5
    return source


def receipt(source, digest="ab", made_at=None):
    words = "refused", "slices 3 and 4 are 9 mm apart", digest
    return dcmread(BytesIO(to_receipt(source, *words, NumbersOfRun(), made_at=made_at)))


def test_a_receipt_says_of_which_series_and_why(source):
    made = receipt(source)
    assert made.SeriesDescription == "Hepar: no result, refused"
    text = made.ContentSequence[0].TextValue
    assert text == "Hepar: no result for series 5: refused: slices 3 and 4 are 9 mm apart"


def test_the_same_receipt_at_another_time_has_the_same_uids(source):
    first, second = receipt(source), receipt(source, made_at=datetime(2031, 5, 6, tzinfo=UTC))
    assert second.ContentDate.startswith("2031")
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber"):
        assert first[keyword].value == second[keyword].value


@pytest.mark.parametrize(
    ("keyword", "value"), [("PatientName", "CORRECTED^NAME"), ("AccessionNumber", "A-2")]
)
def test_a_corrected_patient_or_study_has_a_receipt_of_its_own(source, keyword, value):
    first = receipt(source)
    setattr(source, keyword, value)
    second = receipt(source)
    assert second[keyword].value == value
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert first.SeriesInstanceUID != second.SeriesInstanceUID
    assert receipt(source, digest="cd").SOPInstanceUID != second.SOPInstanceUID


@pytest.mark.filterwarnings("ignore:Failed to decode")
def test_headers_of_the_field_make_a_valid_receipt(source, tmp_path):
    """An impossible date, a time zone, and a name that its character set cannot decode."""
    source.SpecificCharacterSet = "ISO_IR 192"
    name = RawDataElement(Tag("PatientName"), "PN", 6, b"M\xfcller", 0, False, True)
    source[Tag("PatientName")] = name
    source[Tag("ContentDate")] = DataElement("ContentDate", "DA", "20201332", validation_mode=0)
    source.TimezoneOffsetFromUTC, source.IssuerOfPatientID = "+0100", "HOSPITAL"
    file = to_receipt(source, "refused", "no · liver", "ab", NumbersOfRun())
    made = dcmread(BytesIO(file))
    assert made.get_item("PatientName").value.strip() == b"M\xfcller"
    assert (made.TimezoneOffsetFromUTC, made.IssuerOfPatientID) == ("+0100", "HOSPITAL")
    assert made.ContentDate != "20201332"
    (tmp_path / "receipt.dcm").write_bytes(file)
    _, words = dciodvfy(tmp_path / "receipt.dcm")
    errors = [line for line in words.splitlines() if line.startswith("Error")]
    of_the_name = "Name", "invalid data values"
    assert [each for each in errors if not any(word in each for word in of_the_name)] == []
