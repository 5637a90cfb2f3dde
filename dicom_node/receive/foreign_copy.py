"""Instances that would replace what another caller sent, and the notes of those that were refused.

The notes lie in the folder of the series, so that a restart keeps them until the job has them.
"""

import logging
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info

from dicom_node.attributes import UNREADABLE
from dicom_node.errors import RejectedInstance, StoreStatus
from dicom_node.outside_text import outside_text
from dicom_node.receive.part10 import META_AT, Part10
from engine.durable_files import sync_folder

logger = logging.getLogger(__name__)

PIECE_BYTES = 1 << 20

NOTES = "refused.txt"
"""File of the notes, in the folder of a series."""

MOST_NOTES = 20
"""Of one series; who sends a thousand instances is named all the same."""


def require_own(path: Path, new: Part10) -> None:
    """Return unless a file holds other content of another caller than the one that is to come.

    The same content from another caller, as two routers send it, harms nobody. A refusal is noted
    for the job of the series.

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
    _note(path, sender, new.sender)
    raise RejectedInstance(
        f"{sender} sent this instance with other content, and its series is not complete; send it"
        " again once the series has become a job",
        StoreStatus.NOT_AUTHORISED,
    )


def refused_copies(folder: Path) -> tuple[str, ...]:
    """Return the notes in the folder of a series, the oldest first."""
    try:
        return tuple((folder / NOTES).read_text("utf-8", "replace").splitlines())
    except OSError:  # nothing was refused
        return ()


def forget_refused_copies(folder: Path) -> None:
    """Remove the notes in the folder of a series."""
    (folder / NOTES).unlink(missing_ok=True)


def _note(path: Path, first: str, second: str) -> None:
    """Note a refusal; where it cannot be kept, the log alone has it."""
    known = refused_copies(path.parent)
    if len(known) >= MOST_NOTES:
        return
    who, whose = outside_text(second), outside_text(first)
    words = f"{who} sent instance {path.stem} of {whose} with other content; refused"
    note = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC: {words}\n"
    try:
        # Appended in one write: other associations, and gateways, note theirs at the same time.
        with open(path.parent / NOTES, "ab", buffering=0, opener=_private) as file:
            file.write(note.encode())
            os.fsync(file.fileno())
        sync_folder(path.parent)
    except OSError as error:
        logger.warning("refusal not noted: %s", error.strerror, extra={"action": "store_refused"})


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


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
