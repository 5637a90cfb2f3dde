"""Source headers reach the results and never make them invalid."""

from io import BytesIO

import pytest
from pydicom import Dataset, config, dcmread

from dicom_node.results.make import SeriesResult, encode_verified, make_others, make_seg
from dicom_node.results.objects import ObjectKind, ResultObject
from dicom_node.results.rtstruct import to_rtstruct
from dicom_node.results.seg import encode
from dicom_node.series.reading import read_series
from dicom_node.verify.report import verify_report
from dicom_node.verify.seg import verify_seg
from engine.findings.contours import draw_contours
from engine.findings.quality import Quality
from tests.dicom_node.drawing import ALGORITHM, RUN, draw_case
from tests.system.judges import dciodvfy


@pytest.fixture
def written(ct_series, tmp_path):
    """Write a series with changed headers and read it back, as a node does."""

    def write(change=lambda source, index: None, replaced=()):
        paths = []
        for index, source in enumerate(ct_series(slices=9, rows=20, columns=24)):
            change(source, index)
            paths.append(tmp_path / f"{index}.dcm")
            source.save_as(paths[-1], enforce_file_format=True)
            content = paths[-1].read_bytes()
            for old, new in replaced:
                assert len(old) == len(new)
                assert old in content
                content = content.replace(old, new)
            paths[-1].write_bytes(content)
        return draw_case(read_series(paths, pixels=True))

    return write


def read(made):
    return dcmread(BytesIO(encode(made)))


def verify(case):
    seg = case.seg()
    verify_seg(encode(seg), case.sources, case.label_map)
    report = case.report(seg)
    verify_report(encode(report), seg, case.label_map, case.measured, Quality(), case.sources)
    return read(seg), read(report)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_bytes_that_the_character_set_cannot_decode_stay_as_they_are(written):
    def change(source, _):
        source.SpecificCharacterSet = "ISO_IR 192"
        source.PatientName, source.StudyDescription = "MXller^JXrg", "GrXXe"
        source.Manufacturer = "KrXss"

    latin = [("MXller^JXrg", "Müller^Jörg"), ("GrXXe", "Größe"), ("KrXss", "Krüss")]
    case = written(change, [(a.encode(), b.encode("latin-1")) for a, b in latin])
    verify(case)
    for file in every_object(case):
        for _, text in latin:
            assert text.encode("latin-1") in file
        assert "\ufffd".encode() not in file


def every_object(case) -> list[bytes]:
    """Return one object of each kind, made one after another as a node makes them."""
    picture = draw_contours(case.volume, case.label_map)
    findings = SeriesResult(
        case.sources, ALGORITHM, case.label_map, case.measured, Quality(), picture
    )
    seg = make_seg(findings)
    others = make_others({ResultObject(kind) for kind in ObjectKind}, findings, seg)
    return [encode_verified(seg, findings), *dict(others).values()]


def test_an_object_of_undecoded_and_of_decoded_sources_is_the_same(written):
    first = written()
    before = encode(first.seg())
    for source in first.sources:
        str(source)  # decodes every attribute
    assert encode(first.seg()) == before


@pytest.mark.parametrize("other", ["DOE^JANE^^^", "DOE^JANE=", "DOE^JANE ^ ==", " DOE^JANE"])
def test_a_name_with_other_padding_is_the_same_person(written, other):
    def change(source, index):
        source.PatientName = other if index % 2 else "DOE^JANE"

    verify(written(change))


@pytest.mark.parametrize("keyword", ["ContentDate", "AcquisitionDate", "SeriesDate", "ContentTime"])
@pytest.mark.parametrize("value", ["00000000", "20201332", "????"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_an_impossible_date_makes_no_object_invalid(written, keyword, value, tmp_path):
    def change(source, _):
        with config.disable_value_validation():
            setattr(source, keyword, value)

    case = written(change)
    for made in verify(case):
        assert made.ContentDate == "20260506"
        judged(made, tmp_path)


def judged(made: Dataset, folder) -> None:
    path = folder / "object.dcm"
    path.write_bytes(encode(made))
    try:
        status, words = dciodvfy(path)
    except FileNotFoundError as error:
        pytest.skip(f"needs dicom3tools: {error}")
    assert status == 0, words


LONG = {
    "ImagePositionPatient": "-12.00000000000000001\\-14.00000000000000001\\{z}.0000000000000000",
    "ImageOrientationPatient": "1.000000000000000000\\0.00000000000000000\\0\\0\\"
    "1.000000000000000000\\0",
    "PixelSpacing": "2.00000000000000001\\2.00000000000000001",
    "SliceThickness": "9.99999999999999999",
    "PatientWeight": "70.1234567890123456789",
    "PatientSize": "1.800000000000000000001",
    "LossyImageCompressionRatio": "12.00000000000000001",
}


@pytest.mark.parametrize("keyword", LONG)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_long_decimal_makes_no_object_invalid(written, keyword, tmp_path):
    def change(source, index):
        source.LossyImageCompression = "01"
        source.LossyImageCompressionMethod = "ISO_15444_1"
        with config.disable_value_validation():
            z = int(float(source.ImagePositionPatient[2]))
            setattr(source, keyword, LONG[keyword].format(z=z).split("\\"))

    case = written(change)
    seg, report = verify(case)
    rtstruct = read(to_rtstruct(case.label_map, case.sources, run=RUN))
    for made in (seg, report, rtstruct):
        assert not [text for text in decimals(made) if len(text) > 16]
        judged(made, tmp_path)


def decimals(dataset):
    for element in dataset.iterall():
        if element.VR == "DS" and not element.is_empty:
            yield from str(element.value).strip("[]").split(", ")


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "ImageOrientationPatient"])
def test_valid_decimals_are_copied_digit_by_digit(written, keyword):
    digits = {
        "ImagePositionPatient": ["-12.0000001", "-14.50", "{z}.000"],
        "ImageOrientationPatient": ["1.0000000", "0.00", "0", "0e0", "1.00", "-0.0"],
    }[keyword]

    def change(source, _):
        z = int(float(source.ImagePositionPatient[2]))
        setattr(source, keyword, [each.format(z=z) for each in digits])

    case = written(change)
    (seg, _), found = verify(case), set()
    groups = [seg.SharedFunctionalGroupsSequence[0], *seg.PerFrameFunctionalGroupsSequence]
    for item in groups:
        for name in ("PlanePositionSequence", "PlaneOrientationSequence"):
            if keyword in (item.get(name) or [Dataset()])[0]:
                found.add(tuple(map(str, item[name][0][keyword])))
    assert found <= {tuple(map(str, source[keyword])) for source in case.sources}
    assert found


def hospital(source: Dataset, _: int) -> None:
    """Attributes as a RIS and a PACS write them."""
    source.TimezoneOffsetFromUTC, source.IssuerOfPatientID = "+0900", "HOSP_A"
    issuer, other, order, code = Dataset(), Dataset(), Dataset(), Dataset()
    issuer.UniversalEntityID, issuer.UniversalEntityIDType = "1.2.3", "ISO"
    source.IssuerOfPatientIDQualifiersSequence = [issuer]
    other.PatientID, other.IssuerOfPatientID, other.TypeOfPatientID = "NAT-1", "NATION", "TEXT"
    source.OtherPatientIDsSequence = [other]
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "CTABD", "99HOSP", "CT abdomen"
    order.RequestedProcedureID, order.AccessionNumber = "RP1", "ACC1"
    order.RequestedProcedureCodeSequence = [code]
    order.ScheduledProcedureStepID, order.StudyInstanceUID = "SPS1", source.StudyInstanceUID
    order.RequestedProcedureDescription = "CT abdomen"
    order.add_new(0x00090010, "LO", "VENDOR")
    order.add_new(0x00091001, "LO", "SECRET")
    source.RequestAttributesSequence = [order]
    source.AccessionNumber = "ACC1"
    source.PatientAge = "061Y"


def test_time_zone_order_and_issuer_reach_every_object(written, tmp_path):
    case = written(hospital)
    seg, report = verify(case)
    rtstruct = read(to_rtstruct(case.label_map, case.sources, run=RUN))
    for made in (seg, report, rtstruct):
        assert (made.TimezoneOffsetFromUTC, made.IssuerOfPatientID) == ("+0900", "HOSP_A")
        assert made.IssuerOfPatientIDQualifiersSequence[0].UniversalEntityID == "1.2.3"
        assert made.OtherPatientIDsSequence[0].PatientID == "NAT-1"
        assert b"SECRET" not in encode(made)
        assert made.SeriesTime == "160809"
        judged(made, tmp_path)
    for made in (seg, rtstruct):
        assert made.RequestAttributesSequence[0].RequestedProcedureID == "RP1"
    (order,) = report.ReferencedRequestSequence
    assert (order.RequestedProcedureID, order.AccessionNumber) == ("RP1", "ACC1")
    assert order.RequestedProcedureDescription == "CT abdomen"


@pytest.mark.parametrize("offset", ["", "0900", "+9:00", "+2500", "UTC+1"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_time_zone_that_is_none_is_left_out(written, offset):
    case = written()
    for source in case.sources:
        source.TimezoneOffsetFromUTC = offset
    seg = case.seg()
    assert "TimezoneOffsetFromUTC" not in seg
    assert seg.ContentTime == "070809"


@pytest.mark.parametrize(("keyword", "value"), [("PatientAge", "45"), ("PatientSize", "1,80")])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_value_of_no_use_is_left_out_unless_it_identifies_the_patient(written, keyword, value):
    case = written()
    for source in case.sources:
        with config.disable_value_validation():
            source.PatientBirthDate = "1950"
            try:
                setattr(source, keyword, value)
            except ValueError:
                pytest.skip("pydicom cannot hold it in memory")
    seg = read(case.seg())
    assert keyword not in seg
    assert seg.PatientBirthDate == "1950"
