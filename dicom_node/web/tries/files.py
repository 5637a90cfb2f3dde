"""Results of an upload as files to take away."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread

from dicom_node.tryout.shelf import Shelf
from dicom_node.tryout.tryout import Tryout


def _pdf(file: Path) -> bytes:
    """Return the document in an Encapsulated PDF, without the byte that makes its length even."""
    read = dcmread(file)
    document = bytes(read.EncapsulatedDocument)
    return document[: int(read.get("EncapsulatedDocumentLength") or len(document))]


@dataclass(frozen=True)
class Kind:
    """A kind of file."""

    title: str
    kept_as: str
    """End of the name of the kept file."""
    given_as: str
    """End of the name that the browser saves it under."""
    media_type: str
    read: Callable[[Path], bytes] = Path.read_bytes


KINDS: Mapping[str, Kind] = {
    "seg": Kind("DICOM SEG", ".dcm", "-seg.dcm", "application/dicom"),
    "nifti": Kind("NIfTI labels", ".nii.gz", "-labels.nii.gz", "application/gzip"),
    "pdf": Kind("PDF report", ".pdf.dcm", "-report.pdf", "application/pdf", _pdf),
    "csv": Kind("Lesions as CSV", ".csv", "-lesions.csv", "text/csv"),
    "json": Kind("Figures as JSON", ".json", "-figures.json", "application/json"),
}


def files_of(shelf: Shelf, tryout: Tryout, stem: str) -> dict[str, Kind]:
    """Return the kinds of files that there are of one scan."""
    return {
        name: kind
        for name, kind in KINDS.items()
        if shelf.result(tryout.id, stem + kind.kept_as).exists()
    }
