"""Requests to the process that decodes, and how their answers travel."""

from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from dicom_node.attributes import UNREADABLE
from dicom_node.decoding.stream import BrokenStream
from dicom_node.dicom_file import UNREADABLE_FILE, failure_of, read_file

MOST_ITEMS = 100_000
"""Sequence items of a header; an Enhanced CT of 4,000 frames has about 60,000."""


class Request(Protocol):
    """A call that is made in the process that decodes."""

    def run(self) -> object:
        """Return the result."""

    def send(self, answer: object, connection: Connection) -> None:
        """Send the result, or an error in its place."""

    def receive(self, connection: Connection) -> object:
        """Receive what `send` has sent."""


@dataclass(frozen=True)
class DecodeFrame:
    """Decode one code stream to (rows, columns) stored values."""

    stream: bytes
    syntax: str
    plugin: str
    attributes: Mapping[str, Any]
    """Of the Image Pixel module, by keyword."""

    def run(self) -> NDArray[Any]:
        """Return the stored values."""
        frame = Dataset()
        for keyword, value in self.attributes.items():
            setattr(frame, keyword, value)
        frame.file_meta = FileMetaDataset()
        frame.file_meta.TransferSyntaxUID = UID(self.syntax)
        frame.PixelData = encapsulate([self.stream])
        # pydicom's sign of encapsulated pixels (PS3.5 A.4).
        frame["PixelData"].is_undefined_length = True
        array, _ = get_decoder(UID(self.syntax)).as_array(
            frame, raw=True, decoding_plugin=self.plugin
        )
        return array

    def send(self, answer: object, connection: Connection) -> None:
        """Send an array as its bytes, which is three times as fast as pickling it."""
        if not isinstance(answer, np.ndarray):
            connection.send(answer)
            return
        connection.send((answer.dtype.str, answer.shape))
        connection.send_bytes(np.ascontiguousarray(answer).reshape(-1).view(np.uint8).data)

    def receive(self, connection: Connection) -> object:
        """Receive an array, or an error."""
        answer = connection.recv()
        if isinstance(answer, BaseException):
            return answer
        kind, shape = answer
        array = np.empty(shape, kind)
        connection.recv_bytes_into(array.reshape(-1).view(np.uint8).data)
        return array


@dataclass(frozen=True)
class InspectHeader:
    """Parse every sequence of a file, to see whether that ends."""

    path: Path

    def run(self) -> int:
        """Return how many sequence items there are.

        Raises:
            BrokenStream: there are too many, or the file is no whole DICOM file.
        """
        try:
            return _count_items(read_file(self.path), 0)
        except BrokenStream:
            raise
        except UNREADABLE_FILE as error:
            raise BrokenStream(failure_of(error)) from error

    def send(self, answer: object, connection: Connection) -> None:
        """Send the count, or an error."""
        connection.send(answer)

    def receive(self, connection: Connection) -> object:
        """Receive the count, or an error."""
        return connection.recv()


def _count_items(data_set: Dataset, count: int) -> int:
    for tag in list(data_set.keys()):
        try:
            element = data_set[tag]
        # One of `UNREADABLE`, but of nested sequences: just what is looked for.
        except RecursionError:
            raise
        except UNREADABLE:  # a value that cannot be read is no sequence
            continue
        if element.VR != "SQ":
            continue
        for item in element.value:
            count += 1
            if count > MOST_ITEMS:
                raise BrokenStream(f"the header has more than {MOST_ITEMS} sequence items")
            count = _count_items(item, count)
    return count
