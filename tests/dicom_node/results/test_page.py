"""The page for whoever has no viewer, as Encapsulated PDF and as HTML."""

from dataclasses import replace
from io import BytesIO

import pytest
from pydicom import dcmread

from dicom_node.errors import ResultMismatch
from dicom_node.results.make import SeriesResult, make_html, make_others, make_seg
from dicom_node.results.objects import ObjectKind, ResultObject
from dicom_node.results.page import MOST_LESIONS, RESEARCH_ONLY, UNCHECKED
from dicom_node.verify.pdf import verify_pdf
from engine.findings.certainty import Certainty, Probability, VolumeInterval
from engine.findings.contours import draw_contours
from engine.findings.domain import Outside
from engine.findings.quality import Concern, Quality
from engine.manifest import Feature, Range
from tests.dicom_node.drawing import ALGORITHM, MADE_AT, draw_case

PDF = ResultObject(ObjectKind.PDF)


@pytest.fixture
def findings(ct_series):
    sources = ct_series(slices=9, rows=60, columns=80)
    for source in sources:
        source.SeriesNumber, source.SeriesDescription = 5, "Portal 1.5 mm"
        source.PatientName = "Doe^Jane=X"
    case = draw_case(sources)
    return SeriesResult(
        sources,
        replace(ALGORITHM, device="OpenVINO CPU bfloat16"),
        case.label_map,
        case.measured,
        Quality((Concern.SMALL,)),
        draw_contours(case.volume, case.label_map),
        ["Remarked."],
        made_at=MADE_AT,
    )


def made(findings):
    return dict(make_others({PDF}, findings, make_seg(findings)))[PDF]


def test_the_page_has_patient_source_findings_review_and_model(findings):
    html = make_html(findings).decode()
    measured = findings.measured
    for text in (
        "Doe, Jane",
        f"ID {findings.sources[0].PatientID}",
        "5 Portal 1.5 mm: 9 slices",
        f"{measured.liver_ml:.1f} ml",
        f"{measured.burden_percent:.1f} % of the liver",
        "Please review: liver smaller than expected.",
        "Remarked.",
        "model base 1.0",
        "device OpenVINO CPU bfloat16",
        "Made 2026-05-06 07:08",
        RESEARCH_ONLY,
        "data:image/png;base64,",
    ):
        assert text in html
    assert measured.lesions
    for lesion in measured.lesions:
        assert f"{lesion.longest_mm:.1f} x {lesion.perpendicular_mm:.1f}" in html
        assert f"<td>{lesion.region.volume_ml:.1f}</td>" in html


def test_a_scan_unlike_those_that_were_learnt_from_is_named_with_its_value(findings):
    outside = Outside(Feature.NOISE, 45.0, Range(low=0.0, high=17.8))
    quality = Quality((Concern.OTHER_NOISE,), (outside,))
    html = make_html(replace(findings, quality=quality)).decode()
    assert "Please review: noise of 45 HU in the liver; learnt: 0 to 17.8." in html
    assert UNCHECKED not in html


@pytest.mark.parametrize("concerns", [(), (Concern.SMALL,)])
def test_a_page_states_that_a_scan_was_not_compared(findings, concerns):
    unchecked = replace(findings, quality=Quality(concerns, domain_checked=False))
    assert UNCHECKED in make_html(unchecked).decode()


@pytest.fixture
def certain(findings):
    """Findings of a model that states how certain they are: of one lesion, and of the liver."""
    certainty = Certainty(
        {1: Probability(0.82, 0.6, 0.93)},
        VolumeInterval(1372.5, 1627.5),
        None,
        ("It rests on 6 patients.",),
    )
    return replace(findings, certainty=certainty)


def test_a_page_has_probabilities_and_intervals_where_the_model_states_them(findings, certain):
    page, plain = make_html(certain).decode(), make_html(findings).decode()
    for text in ("<th>Probability</th>", "<td>82 % (60 to 93)</td>", "(1372.5 to 1627.5)"):
        assert text in page
        assert text not in plain
    assert page.count("<td>not stated</td>") == len(findings.measured.lesions) - 1
    assert "<li>It rests on 6 patients.</li>" in page
    document = dcmread(BytesIO(made(certain))).EncapsulatedDocument
    assert rb"82 % \(60 to 93\)" in document
    assert b"It rests on 6 patients." in document


def test_the_pdf_has_the_same_texts(findings):
    read = dcmread(BytesIO(made(findings)))
    document = read.EncapsulatedDocument
    assert read.MIMETypeOfEncapsulatedDocument == "application/pdf"
    for text in (b"Doe, Jane", b"Portal 1.5 mm", b"liver smaller than expected", b"model base 1.0"):
        assert text in document


def test_a_page_made_later_has_the_same_uid(findings):
    first, later = (
        dcmread(BytesIO(made(each)))
        for each in (findings, replace(findings, made_at=MADE_AT.replace(year=2027)))
    )
    assert first.SOPInstanceUID == later.SOPInstanceUID
    assert b"2027-05-06" in later.EncapsulatedDocument
    assert b"2027-05-06" not in first.EncapsulatedDocument


def test_other_findings_are_another_page(findings):
    other = replace(findings, quality=Quality())
    uids = {dcmread(BytesIO(made(each))).SOPInstanceUID for each in (findings, other)}
    assert len(uids) == 2


def test_text_of_a_header_is_no_markup(findings):
    for source in findings.sources:
        source.SeriesDescription = "<script>alert(1)</script>"
    assert "<script>" not in make_html(findings).decode()


def test_a_name_in_other_letters_is_whole_in_html_and_leaves_a_pdf(findings):
    for source in findings.sources:
        source.SpecificCharacterSet, source.PatientName = "ISO_IR 192", "王^小东"
        source.SeriesDescription = "腹部 (1)\\"[:-1]
    assert "王, 小东" in make_html(findings).decode()
    assert made(findings)


def test_many_lesions_still_are_one_page(findings):
    (lesion, *_) = findings.measured.lesions
    many = tuple(replace(lesion, number=number) for number in range(1, 301))
    measured = replace(findings.measured, lesions=many)
    html = make_html(replace(findings, measured=measured)).decode()
    assert f"{300 - MOST_LESIONS} smaller lesions are listed in the report." in html
    assert html.count("<tr><td>") == MOST_LESIONS


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda read: setattr(read, "PatientID", "OTHER"), "PatientID of the page"),
        (lambda read: setattr(read, "EncapsulatedDocument", b"no PDF"), "no whole PDF"),
        (
            lambda read: setattr(
                read,
                "EncapsulatedDocument",
                read.EncapsulatedDocument.replace(b" % of the liver", b" % of the spleen"),
            ),
            "the page does not have",
        ),
    ],
)
def test_a_page_with_anything_else_does_not_pass(findings, change, complaint):
    read = dcmread(BytesIO(made(findings)))
    change(read)
    read.EncapsulatedDocumentLength = len(read.EncapsulatedDocument.rstrip(b"\0"))
    file = BytesIO()
    read.save_as(file)
    with pytest.raises(ResultMismatch, match=complaint):
        verify_pdf(file.getvalue(), findings.sources, findings.measured)
