"""Bounds of a file, to be checked before it is read: deflated data sets, and oversized headers.

pydicom inflates a data set (PS3.5 A.5) in one call, whatever comes of it, and parses sequences of
any length.
"""

import zlib
from pathlib import Path

from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian

from dicom_node.decoding.bounds import INFLATED_BYTES
from dicom_node.decoding.stream import BrokenStream

PIECE_BYTES = 1 << 20
HEAD_BYTES = 1 << 12
"""Hold the file meta information, Transfer Syntax UID (0002,0010) included."""


def require_bounded_file(path: Path, most: int = INFLATED_BYTES) -> None:
    """Return if a file may be read: a deflated data set inflates to its end within `most` bytes.

    Raises:
        BrokenStream: it is cut, damaged, or inflates to more.
        OSError: it cannot be opened.
    """
    with path.open("rb") as file:
        if DeflatedExplicitVRLittleEndian.encode() not in file.read(HEAD_BYTES):
            return
    try:
        meta = read_file_meta_info(path)
    except (InvalidDicomError, AttributeError, KeyError):  # the reader says what it is
        return
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return
    with path.open("rb") as file:
        file.seek(132 + 12 + int(meta.FileMetaInformationGroupLength))
        _inflate(file.read(), most)


def _inflate(deflated: bytes, most: int) -> None:
    inflater, inflated = zlib.decompressobj(-zlib.MAX_WBITS), 0
    try:
        while not inflater.eof:
            inflated += len(inflater.decompress(deflated, PIECE_BYTES))
            deflated = inflater.unconsumed_tail
            if inflated > most:
                raise BrokenStream(
                    f"the deflated data set inflates to more than {most >> 20} MB; send it"
                    " uncompressed"
                )
            if not deflated and not inflater.eof:
                raise BrokenStream("the deflated data set breaks off")
    except zlib.error as error:
        raise BrokenStream(f"the deflated data set cannot be inflated: {error}") from error
