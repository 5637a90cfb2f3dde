"""Digest of what a series holds: its headers and pixels, and not the way in which they came.

The same instances sent again are known by it, whatever the transfer syntax, as long as their pixels
are not compressed; a corrected patient, study, slice or pixel is told apart although the UIDs stay
(IHE PIR and IOCM, `modify` of archives with kept UIDs).
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from io import BufferedReader
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.filereader import read_file_meta_info
from pydicom.tag import BaseTag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from dicom_node.decoding.file_bounds import require_bounded_file

TRANSIENT = {
    0x00080054,  # Retrieve AE Title
    0x00080056,  # Instance Availability
    # Counts of an archive's other objects:
    0x00201200,  # Number of Patient Related Studies, and so on
    0x00201202,
    0x00201204,
    0x00201206,
    0x00201208,
    0x00201209,
    0xFFFCFFFC,  # Data Set Trailing Padding
}
"""Attributes that describe the archive at the moment of sending, not the image."""

PIXELS = {0x7FE00008, 0x7FE00009, 0x7FE00010}
"""Float Pixel Data, Double Float Pixel Data, Pixel Data."""
BLOCK = 1 << 20
"""Bytes of pixels in memory at a time; an instance may have a gigabyte of them."""
DEEPEST = 20
"""Sequences within sequences that are looked into; a hostile file has thousands."""


def content_digest(paths: Sequence[Path]) -> str:
    """Return the digest of a series of instances, whose order is free, in hexadecimal.

    Raises:
        OSError: a file cannot be read now, or is no longer there.
    """
    # With the name, which is the SOP Instance UID: two that exchange their pixels are a change.
    instances = sorted(f"{path.name} {_instance_digest(path)}" for path in paths)
    return hashlib.sha256("\n".join(instances).encode()).hexdigest()


def file_stamp(paths: Sequence[Path]) -> str:
    """Return a digest of the files' sizes and times: while it stays, so does their content.

    Raises:
        OSError: a file is no longer there.
    """
    return joined_stamp(map(stamp_of, paths))


def stamp_of(path: Path) -> str:
    """Return name, size and times of one file.

    Raises:
        OSError: it is no longer there.
    """
    stat = path.stat()
    return f"{path.name} {stat.st_size} {stat.st_mtime_ns} {stat.st_ino}"


def joined_stamp(stamps: Iterable[str]) -> str:
    """Return the `file_stamp` of files with these stamps."""
    return hashlib.sha256("\n".join(sorted(stamps)).encode()).hexdigest()


def _instance_digest(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        try:
            _require_parsable(path)
            _add_instance(digest, file)
        except OSError:
            raise
        except Exception:  # pydicom raises anything on damaged files: its bytes are what it holds
            file.seek(0)
            return hashlib.file_digest(file, "sha256").hexdigest()
        return digest.hexdigest()


def _require_parsable(path: Path) -> None:
    """Return if the header of a file can be parsed here, whatever it contains.

    Raises:
        BrokenStream: it is too long to be parsed.
        NotImplementedError: it is deflated, and a few kilobytes may inflate to gigabytes.
    """
    if read_file_meta_info(path).TransferSyntaxUID == DeflatedExplicitVRLittleEndian:
        raise NotImplementedError
    require_bounded_file(path)


def _add_instance(digest: "hashlib._Hash", file: BufferedReader) -> None:
    header = dcmread(file, stop_before_pixels=True)
    syntax = UID(header.file_meta.TransferSyntaxUID)
    for part in _parts(header):
        digest.update(part)
    if syntax.is_compressed:
        digest.update(syntax.encode())
    _add_pixels(digest, file, syntax)


def _add_pixels(digest: "hashlib._Hash", file: BufferedReader, syntax: UID) -> None:
    """Add the rest of the file, in which the pixels stand; `file` is at their tag."""
    # Tag and length; explicit VR has the VR and two reserved bytes in between (PS3.5 7.1.2).
    head = file.read(8 if syntax.is_implicit_VR else 12)
    length = int.from_bytes(head[-4:], "little" if syntax.is_little_endian else "big")
    # Of undefined length (PS3.5 A.4): to the end of the file.
    left = (1 << 62) if syntax.is_compressed or length == 0xFFFFFFFF else length
    while left > 0 and (block := file.read(min(BLOCK, left))):
        digest.update(block)
        left -= len(block)


def _parts(data_set: Dataset, depth: int = 0) -> Iterator[bytes]:
    """Yield tags and values as bytes that are the same in implicit and explicit encoding."""
    # RecursionError is what pydicom raises, too: the file then counts by its bytes.
    if depth > DEEPEST:
        raise RecursionError(f"sequences {DEEPEST} deep")
    for tag in sorted(data_set.keys()):
        if tag in TRANSIENT or tag in PIXELS or tag.element == 0:  # a group's length
            continue
        element = data_set.get_item(tag)
        yield b"%08x" % tag
        if isinstance(element, RawDataElement) and not _is_sequence(tag, element.VR):
            # Without the padding to even length, which senders fill differently (PS3.5 6.2).
            yield (element.value or b"").rstrip(b"\0 ")
            continue
        for item in data_set[tag].value:
            # Or an element in one item and in the next would read like two in one.
            yield b"item"
            yield from _parts(item, depth + 1)


def _is_sequence(tag: BaseTag, vr: str | None) -> bool:
    return vr == "SQ" or (vr is None and dictionary_has_tag(tag) and dictionary_VR(tag) == "SQ")
