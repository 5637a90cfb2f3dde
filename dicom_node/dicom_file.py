"""Read one DICOM file, and name what is wrong with one that cannot be read.

The only entry point for reading files: it takes a bare data set as well as Part 10, and what it
raises on bytes that are neither is one list.
"""

import struct
import zlib
from io import SEEK_END, BufferedReader, BytesIO
from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.tag import BaseTag
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pydicom.values import converters

from dicom_node.attributes import UNREADABLE

UNREADABLE_FILE = (InvalidDicomError, OSError, *UNREADABLE)
"""Raised on a file that is no whole DICOM file."""

PREAMBLE = 132
"""Bytes before the file meta information: 128 and "DICM" (PS3.10 7.1)."""
PIXEL_DATA, ITEM_GROUP, UNDEFINED = (0x7FE0, 0x0010), 0xFFFE, 0xFFFFFFFF
DELIMITER_BYTES = 8
FILE_META_GROUP = 0x0002
LONG_VRS = {
    b"OB",
    b"OD",
    b"OF",
    b"OL",
    b"OV",
    b"OW",
    b"SQ",
    b"SV",
    b"UC",
    b"UN",
    b"UR",
    b"UT",
    b"UV",
}
"""VRs with a length of 32 bits (PS3.5 7.1.2)."""
VALUE_BYTES = {"US": 2, "SS": 2, "AT": 4, "UL": 4, "SL": 4, "FL": 4} | dict.fromkeys(
    ("FD", "SV", "UV"), 8
)
"""Bytes of one value of a binary VR (PS3.5 6.2)."""
FIRST_GROUPS = (b"\x02\x00", b"\x08\x00")
"""Groups with which a data set that lacks the preamble begins, little endian."""


def read_file(path: Path, **options: Any) -> Dataset:
    """Read a DICOM file, also one that lacks preamble and file meta information (PS3.10 7.1).

    The transfer syntax of such a bare data set is the uncompressed one in which it could be read.

    Args:
        path: the file.
        options: of `pydicom.dcmread`.

    Raises:
        UNREADABLE_FILE: it is no DICOM file, or breaks off.
    """
    with path.open("rb") as file:
        head = file.read(PREAMBLE)
        # Looked at here, as `force` would have pydicom read anything, a text too, as a data set.
        bare = head[128:] != b"DICM" and head[:2] in FIRST_GROUPS
        file.seek(0)
        instance, reached_end = _parse(file, bare, options)
        size = file.seek(0, SEEK_END)
    # To the end without pixels: an unknown VR may have swallowed them with what follows.
    if instance is None or (reached_end and _may_hide_pixels(instance)):
        content = path.read_bytes()
        # Only where it helps: else what pydicom read stands, or what it raised.
        if (known := with_known_vrs(content)) != content:
            instance = dcmread(BytesIO(known), force=bare, **options)
        elif instance is None:
            raise EOFError("an element states more bytes than the memory holds")
    _require_delimiter(instance, size)
    _drop_meaningless(instance)
    # pydicom sets it only for paths; the pixels are read from there later.
    instance.filename = str(path)
    return _with_syntax(instance) if bare else instance


def _parse(
    file: BufferedReader, bare: bool, options: dict[str, Any]
) -> tuple[Dataset | None, bool]:
    """Return a data set and whether it was read to the end of the file.

    None stands for a length beyond the memory, which the bytes behind an unknown VR may look like:
    a buffered reader allocates what it is asked for before it reads.
    """
    try:
        instance = dcmread(file, force=bare, **options)
    except MemoryError:
        return None, False
    return instance, not file.read(1)


def _drop_meaningless(instance: Dataset) -> None:
    """Remove elements that raise whenever they are read; they count as absent.

    So many readers ask for so many attributes that one of them would forget to expect it.
    """
    for element in list(instance.elements()):
        if not isinstance(element, RawDataElement) or not isinstance(element.value, bytes):
            continue
        vr = element.VR or _implied_vr(element.tag)
        if vr not in converters or len(element.value) % VALUE_BYTES.get(vr, 1):
            del instance[element.tag]


def _implied_vr(tag: BaseTag) -> str:
    """Return the VR of an element that does not state it; UN where the dictionary has none."""
    # Of several, such as "US or SS", any will do: they are of one size.
    return dictionary_VR(tag).split(" or ")[0] if dictionary_has_tag(tag) else "UN"


def _require_delimiter(instance: Dataset, size: int) -> None:
    """Return unless encapsulated pixels end within their delimiter, which pydicom lets pass.

    Raises:
        EOFError: the file was cut there (PS3.5 A.4: tag and length, 8 bytes).
    """
    pixels = instance.get_item("PixelData") if "PixelData" in instance else None
    if isinstance(pixels, RawDataElement) and pixels.length == UNDEFINED and pixels.value:
        # pydicom takes the end of the file for a delimiter; the value then is short by what is
        # missing.
        missing = pixels.value_tell + len(pixels.value) + DELIMITER_BYTES - size
        if missing > 0:
            raise EOFError(f"the delimiter of the pixel data lacks {missing} bytes")


def _may_hide_pixels(instance: Dataset) -> bool:
    """Return whether an unknown VR could have hidden the pixels: the data set is not deflated."""
    if "PixelData" in instance:
        return False
    syntax = UID(instance.file_meta.get("TransferSyntaxUID") or ExplicitVRLittleEndian)
    return not syntax.is_transfer_syntax or not syntax.is_deflated


def with_known_vrs(content: bytes) -> bytes:
    """Return a file, or an explicit little endian data set, with an unknown VR written as LO.

    Some vendors write "??" or blanks into private elements. Every toolkit counts on two letters
    there, so one such element hides all that follow. Lengths and values stay as they are.
    """
    fixed = bytearray(content)
    at = PREAMBLE if content[128:PREAMBLE] == b"DICM" else 0
    explicit = False
    while at + 8 <= len(content):
        group, element, vr, length = struct.unpack_from("<HH2sH", content, at)
        if (group, element) == PIXEL_DATA:
            break
        if group == ITEM_GROUP:  # items and delimiters have no VR; walk on inside of them
            at += 8
            continue
        # Undefined length: on into the sequence, or the items, behind the 12 bytes.
        if vr in LONG_VRS:
            (length,) = (
                struct.unpack_from("<L", content, at + 8) if at + 12 <= len(content) else (0,)
            )
            at += 12 + (0 if length == UNDEFINED else length)
            continue
        if vr.isalpha() and vr.isupper():
            explicit = explicit or group != FILE_META_GROUP
        # Only after a good VR of the data set: in implicit VR these two bytes are half of a length.
        elif explicit:
            fixed[at + 4 : at + 6] = b"LO"
        else:
            return content  # not explicit little endian after all
        at += 8 + length
    return bytes(fixed)


def _with_syntax(instance: Dataset) -> Dataset:
    """Give a bare data set the file meta information that says how it was read."""
    meta = getattr(instance, "file_meta", None) or FileMetaDataset()
    if "TransferSyntaxUID" not in meta:
        meta.TransferSyntaxUID = _plain_syntax(instance)
    instance.file_meta = meta
    return instance


def _plain_syntax(instance: Dataset) -> str:
    implicit, little = instance.original_encoding
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little else ExplicitVRBigEndian


def failure_of(error: Exception) -> str:
    """Describe an error without the bytes that it quotes: they may be the patient's name."""
    if isinstance(error, InvalidDicomError):
        return "not a DICOM file: it has neither a preamble nor a data set"
    if isinstance(error, EOFError):
        return "it breaks off"
    if isinstance(error, zlib.error):
        return "its deflated data set is damaged or breaks off"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return f"damaged ({type(error).__name__})"
