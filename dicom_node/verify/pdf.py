"""Proof that a page in PDF is of the patient and has the measured numbers.

Read from the file's own attributes and the texts that stand in the document, without anything of
`dicom_node.results.pdf` or of its PDF library.
"""

import re
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from pydicom import Dataset, dcmread

from dicom_node.errors import ResultMismatch
from dicom_node.verify.subject import differing
from engine.findings.measure import Measurements

TEXT = re.compile(rb"\(((?:[^()\\]|\\.)*)\) Tj")
"""A string that a PDF shows (ISO 32000-1, 9.4.3)."""
PAGE = re.compile(rb"/Type\s*/Page\b")


def verify_pdf(file: Path | bytes, sources: Sequence[Dataset], measured: Measurements) -> None:
    """Return if the document is one page of the sources' patient with these numbers.

    Raises:
        ResultMismatch: names what is missing.
    """
    read = dcmread(BytesIO(file) if isinstance(file, bytes) else file)
    if keyword := differing(read, sources):
        raise ResultMismatch(f"{keyword} of the page is not the source's")  # no patient in a log
    # Without the null that pads it to even length.
    document = read.EncapsulatedDocument[: read.EncapsulatedDocumentLength]
    if not document.startswith(b"%PDF-") or not document.rstrip().endswith(b"%%EOF"):
        raise ResultMismatch("the document of the page is no whole PDF")
    if (pages := len(PAGE.findall(document))) != 1:
        raise ResultMismatch(f"the document has {pages} pages, not one")
    texts = [text.decode("latin-1").replace("\\", "") for text in TEXT.findall(document)]
    for expected in _numbers(measured):
        if not any(expected in text for text in texts):
            raise ResultMismatch(f"the page does not have {expected}")
    # A row of the table has "12.3 x 4.5" alone; the grid's line has "of" and "mm" besides.
    listed = sum(" x " in text and " of " not in text and "mm" not in text for text in texts)
    if measured.lesions and not 0 < listed <= len(measured.lesions):
        raise ResultMismatch(f"{listed} lesions are listed, {len(measured.lesions)} were measured")


def _numbers(measured: Measurements) -> list[str]:
    numbers = [f"{measured.liver_ml:.1f} ml", f"{measured.tumour_ml:.1f} ml"]
    numbers.append(f"{measured.burden_percent:.1f} % of the liver")
    if measured.lesions:
        largest = measured.lesions[0]
        numbers.append(f"{largest.longest_mm:.1f} x {largest.perpendicular_mm:.1f}")
        numbers.append(f"{largest.region.volume_ml:.1f}")
    return numbers
