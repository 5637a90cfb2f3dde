"""Multipart bodies (RFC 2046) read as they come, part by part, within bounds.

The parser is python-multipart's. Nothing of a part is kept here: its bytes go to a sink.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from email.message import Message
from typing import Protocol

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from starlette.requests import Request

MOST_PARTS = 1 << 14
"""Of one body."""
SILENCE_S = 60.0
"""Without a byte, after which a body is given up; as on an association."""


class Sink(Protocol):
    """Receives the bytes of one part."""

    def write(self, content: bytes) -> object:
        """Take some more bytes."""

    def end(self) -> None:
        """Note that the part is complete."""


class BadMultipart(ValueError):
    """A body that is not what its Content-Type announces."""


class TooMuch(ValueError):
    """A part or a body that is larger than it may be."""


def boundary_of(content_type: str, kind: str, part_type: str = "") -> bytes | None:
    """Return the boundary of a body of this kind; None where it is another.

    Args:
        content_type: the header.
        kind: such as "multipart/related".
        part_type: what its parameter `type` must be; any where empty.
    """
    header = Message()
    header["Content-Type"] = content_type
    stated = str(header.get_param("type") or "").lower()
    if header.get_content_type() != kind or stated not in ("", part_type):
        return None
    boundary = header.get_boundary()
    # What is not ASCII finds no boundary in the body, and the body is refused.
    return boundary.encode("ascii", "replace") if boundary else None


async def chunks_of(request: Request) -> AsyncIterator[bytes]:
    """Yield the body of a request as it comes.

    Raises:
        TimeoutError: nothing came for `SILENCE_S`.
        ClientDisconnect: the sender has gone.
    """
    chunks = aiter(request.stream())
    while (chunk := await asyncio.wait_for(anext(chunks, None), SILENCE_S)) is not None:
        yield chunk


class MultipartStream:
    """A body that is being read."""

    def __init__(self, boundary: bytes, begin: Callable[[Mapping[str, str]], Sink]) -> None:
        """Read a body with this boundary.

        Args:
            boundary: of the Content-Type.
            begin: called with the headers of each part, names in lower case; returns its sink.
        """
        self._begin = begin
        self._headers: dict[str, str] = {}
        # Collected: the parser passes on a header in pieces where a chunk ends within it.
        self._name, self._value = b"", b""
        self._sink: Sink | None = None
        self._parts = 0
        self._whole = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._on_part_begin,
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_part_data": self._on_part_data,
                    "on_part_end": self._on_part_end,
                    "on_end": self._on_end,
                },
            )
        except FormParserError as error:
            raise BadMultipart("the boundary is longer than 70 characters") from error

    def write(self, chunk: bytes) -> None:
        """Read some more of the body.

        Raises:
            BadMultipart: it is no multipart body.
            TooMuch: it has too many parts, or its sink took no more.
        """
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise BadMultipart("the body does not consist of parts between boundaries") from error

    def finish(self) -> None:
        """Note the end of the body.

        Raises:
            BadMultipart: it broke off before its last boundary.
        """
        # The parser does not tell: to it, a body may end anywhere.
        if not self._whole:
            raise BadMultipart("the body breaks off before its last boundary; send it again")

    def _on_part_begin(self) -> None:
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise TooMuch(f"the body has more than {MOST_PARTS} parts; send several")
        self._headers = {}

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        name = self._name.decode("latin-1").strip().lower()
        self._headers[name] = self._value.decode("utf-8", "replace").strip()
        self._name, self._value = b"", b""

    def _on_headers_finished(self) -> None:
        self._sink = self._begin(self._headers)

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._sink is not None:
            self._sink.write(data[start:end])

    def _on_part_end(self) -> None:
        if self._sink is not None:
            self._sink.end()
        self._sink = None

    def _on_end(self) -> None:
        self._whole = True
