"""Kinds of uploaded files, by their content: a name may say anything."""

from dataclasses import dataclass
from pathlib import Path

from dicom_node.errors import BadUpload
from dicom_node.retrieve.folder import Discovery, discover
from dicom_node.tryout.bounds import Tally
from dicom_node.tryout.unpack import unpack

ZIP, GZIP = b"PK\x03\x04", b"\x1f\x8b"
NIFTI_SIZES = {(size).to_bytes(4, order) for size in (348, 540) for order in ("little", "big")}
"""A NIfTI file begins with the size of its header."""


@dataclass(frozen=True)
class Scans:
    """What an upload holds."""

    dicom: Discovery
    nifti: tuple[Path, ...]
    """Named as nibabel expects it."""


def sort(folder: Path, tally: Tally) -> Scans:
    """Unpack the zips in a folder of uploaded files, and return the scans in it.

    Raises:
        BadUpload: a zip cannot be unpacked, or there is no scan.
    """
    for file in [each for each in sorted(folder.iterdir()) if _begins(each, ZIP)]:
        unpack(file, folder, tally)
        file.unlink()
    if any(_begins(each, ZIP) for each in folder.iterdir()):
        raise BadUpload("there is a zip within the zip; unpack it first")
    niftis = folder / "nifti"
    niftis.mkdir()
    for file in [each for each in sorted(folder.iterdir()) if each.is_file()]:
        if suffix := _nifti_suffix(file):
            file.rename(niftis / f"{file.name}{suffix}")
    found = discover(folder)
    others = {file: why for file, why in found.others.items() if file.parent != niftis}
    dicom, nifti = Discovery(found.series, others), tuple(sorted(niftis.iterdir()))
    if not (dicom.series or nifti):
        raise BadUpload(_nothing(dicom))
    return Scans(dicom, nifti)


def _begins(file: Path, magic: bytes) -> bool:
    return file.is_file() and _head(file).startswith(magic)


def _head(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(4)


def _nifti_suffix(file: Path) -> str:
    head = _head(file)
    if head.startswith(GZIP):
        return ".nii.gz"
    return ".nii" if head in NIFTI_SIZES else ""


def _nothing(dicom: Discovery) -> str:
    count = len(dicom.others)
    why = f"; the first of {count}: {next(iter(dicom.others.values()))}" if count else ""
    return (
        f"the upload holds no scan{why}. Drop the folder of a DICOM series, a zip of one, or a"
        " NIfTI file (.nii, .nii.gz)"
    )
