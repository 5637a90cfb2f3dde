"""Write the page on a series as an Encapsulated PDF (PS3.3 A.45.1)."""

from base64 import b64encode
from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING

import highdicom as hd
from PIL import Image
from pydicom import Dataset
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian

from dicom_node.results.attributes.model_run import ModelRun, local_time
from dicom_node.results.objects import ObjectKind
from dicom_node.results.page import HEADER, RESEARCH_ONLY, Page, made_at, to_html
from dicom_node.results.series_identity import complete, series_identity

if TYPE_CHECKING:
    from fpdf import FPDF

MARGIN_MM = 15.0
COLUMN_WIDTHS = (8, 38, 18, 26, 16, 34)
WITH_PROBABILITY = (8, 34, 18, 25, 16, 34, 30)
FONT = "helvetica"
"""One of the fonts that every PDF reader has; it has the letters of Western Europe."""


def to_encapsulated_pdf(
    page: Page, picture: Image.Image, sources: Sequence[Dataset], *, run: ModelRun
) -> hd.SOPClass:
    """Return the page as an object of the source's study.

    Args:
        page: the texts.
        picture: contours on slices.
        sources: the series that was segmented, in any order.
        run: the run of the model that made the labels.
    """
    sources = sorted(sources, key=lambda source: str(source.SOPInstanceUID))
    made = hd.SOPClass(
        study_instance_uid=sources[0].StudyInstanceUID,
        sop_class_uid=EncapsulatedPDFStorage,
        modality="DOC",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        **series_identity("page", sources, run),
    )
    document = draw_pdf(page, picture, sources, run)
    made.ConversionType = "WSD"
    made.BurnedInAnnotation = "YES"  # the page names the patient
    made.DocumentTitle = page.title
    made.ConceptNameCodeSequence = [hd.sr.CodedConcept("18748-4", "LN", "Diagnostic imaging study")]
    made.SourceInstanceSequence = [_reference_to(source) for source in sources]
    made.MIMETypeOfEncapsulatedDocument = "application/pdf"
    # Padded to an even length, as every value is; the length below is without (PS3.3 table C.24-2).
    made.EncapsulatedDocument = document + b"\0" * (len(document) % 2)
    made.EncapsulatedDocumentLength = len(document)
    # The UIDs come from the same page without the time of the run, which the PDF states.
    undated = to_html(page, "", to_png_text(picture))
    complete(made, ObjectKind.PDF, "page", sources, run, document=undated)
    # Type 2 (PS3.3 C.24.2): of a page made of many images there is no one such time.
    made.AcquisitionDateTime = ""
    return made


def to_png_text(picture: Image.Image) -> str:
    """Return a picture as PNG in base64."""
    file = BytesIO()
    picture.save(file, "PNG")
    return b64encode(file.getvalue()).decode()


def draw_pdf(page: Page, picture: Image.Image, sources: Sequence[Dataset], run: ModelRun) -> bytes:
    """Return the page as the bytes of a PDF of one A4 page."""
    from fpdf import FPDF  # 0.5 s of imports, which a node needs for its first page only

    pdf = FPDF(format="A4")
    pdf.set_compression(False)  # the proof reads the texts; the picture is compressed anyway
    # fpdf2 would state the present time; so one run gives the same bytes.
    pdf.set_creation_date(local_time(run.at, sources[0]))
    pdf.set_title(page.title)
    pdf.set_lang("en")
    pdf.set_margin(MARGIN_MM)
    pdf.set_auto_page_break(False)  # one page: what does not fit was left out by `to_page`
    pdf.add_page()
    _head(pdf, page)
    _facts(pdf, page)
    _lesions(pdf, page)
    _picture(pdf, page, picture)
    _foot(pdf, page, made_at(run, sources[0]))
    return bytes(pdf.output())


def printable(text: str) -> str:
    """Return text with a question mark for each letter that the font does not have."""
    return text.encode("latin-1", "replace").decode("latin-1")


def _head(pdf: "FPDF", page: Page) -> None:
    pdf.set_font(FONT, "B", 15)
    pdf.cell(0, 8, printable(page.title), new_x="LMARGIN", new_y="NEXT")
    pdf.set_font(FONT, "B", 9)
    pdf.set_text_color(170, 40, 40)
    pdf.cell(0, 6, RESEARCH_ONLY, new_x="LMARGIN", new_y="NEXT")
    pdf.set_text_color(0)


def _facts(pdf: "FPDF", page: Page) -> None:
    for label, value in page.facts:
        pdf.set_font(FONT, "B", 9)
        pdf.cell(36, 5, label)
        pdf.set_font(FONT, "", 9)
        # A cell does not wrap: about as many characters as 144 mm hold at 9 points.
        pdf.cell(0, 5, printable(value)[:100], new_x="LMARGIN", new_y="NEXT")
    pdf.ln(2)


def _lesions(pdf: "FPDF", page: Page) -> None:
    from fpdf.enums import TableBordersLayout

    if not page.lesions:
        return
    pdf.set_font(FONT, "", 9)
    layout = TableBordersLayout.HORIZONTAL_LINES
    widths = COLUMN_WIDTHS if page.header == HEADER else WITH_PROBABILITY
    with pdf.table(
        borders_layout=layout, col_widths=widths, line_height=4.6, text_align="LEFT"
    ) as table:
        for cells in (page.header, *page.lesions):
            row = table.row()
            for cell in cells:
                row.cell(printable(cell))
    if page.more:
        pdf.cell(0, 5, page.more, new_x="LMARGIN", new_y="NEXT")
    pdf.ln(2)


def _picture(pdf: "FPDF", page: Page, picture: Image.Image) -> None:
    """Draw the picture as large as the texts below it allow."""
    # As `_foot` sets them: 5 mm a sentence, 9 mm for the last two lines, and the gaps.
    below_mm = 5.0 * len(page.review) + 14
    room_mm = pdf.h - MARGIN_MM - below_mm - pdf.get_y()
    width_mm = min(pdf.epw, room_mm * picture.width / picture.height)
    pdf.image(picture, x=pdf.l_margin + (pdf.epw - width_mm) / 2, w=width_mm)
    pdf.ln(2)


def _foot(pdf: "FPDF", page: Page, when: str) -> None:
    pdf.set_font(FONT, "", 9)
    for sentence in page.review:
        pdf.cell(0, 5, f"- {printable(sentence)}", new_x="LMARGIN", new_y="NEXT")
    pdf.ln(1)
    pdf.set_font(FONT, "", 7.5)
    pdf.set_text_color(90)
    pdf.cell(0, 4, printable(page.made_by), new_x="LMARGIN", new_y="NEXT")
    pdf.cell(0, 4, when, new_x="LMARGIN", new_y="NEXT")


def _reference_to(source: Dataset) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID = source.SOPClassUID
    reference.ReferencedSOPInstanceUID = source.SOPInstanceUID
    return reference
