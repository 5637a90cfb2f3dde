"""Instances that would replace what another caller sent."""

from collections.abc import Iterator
from pathlib import Path

from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info

from dicom_node.attributes import UNREADABLE
from dicom_node.errors import RejectedInstance, StoreStatus
from dicom_node.receive.part10 import META_AT, Part10

PIECE_BYTES = 1 << 20


def require_own(path: Path, new: Part10) -> None:
    """Return unless a file holds other content of another caller than the one that is to come.

    The same content from another caller, as two routers send it, harms nobody.

    Raises:
        RejectedInstance: it does.
    """
    try:
        meta = read_file_meta_info(path)
        sender = str(meta.get("SendingApplicationEntityTitle") or "").strip()
        start = META_AT + int(meta.FileMetaInformationGroupLength)
    except (OSError, InvalidDicomError, *UNREADABLE):  # nothing there that could be lost
        return
    if sender in ("", new.sender) or _is_same(path, start, new):
        return
    raise RejectedInstance(
        f"{sender} sent this instance with other content, and its series is not complete; send it"
        " again once the series has become a job",
        StoreStatus.NOT_AUTHORISED,
    )


def _is_same(path: Path, start: int, new: Part10) -> bool:
    if path.stat().st_size - start != len(new.data_set):
        return False
    return all(old == piece for old, piece in zip(_pieces(path, start), _cut(new), strict=False))


def _pieces(path: Path, start: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(start)
        while piece := file.read(PIECE_BYTES):
            yield piece


def _cut(new: Part10) -> Iterator[bytes]:
    for at in range(0, len(new.data_set), PIECE_BYTES):
        yield new.data_set[at : at + PIECE_BYTES]
