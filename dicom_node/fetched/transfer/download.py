"""Download of one file: continued where it broke off, and compared with its digest."""

import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO

import requests

from dicom_node.errors import GatewayAway
from dicom_node.fetched.transfer.digest import digest_of, from_header
from dicom_node.fetched.transfer.held_files import MODIFIED
from engine.durable_files import PART, sync_folder

PIECE_BYTES = 1 << 18
"""Bytes read at a time; what is left of a piece when the connection breaks is lost."""

TRIES = 5
"""Requests in a row that bring no byte, after which the server counts as away."""

PAUSE_S = 0.2
"""Pause after the first of them; it doubles each time."""

WRONG = 3
"""Whole transfers that do not have the announced digest, after which the server counts as away."""


Ask = Callable[..., requests.Response]
"""Asks for the file, with `headers`."""


@dataclass
class _Part:
    """What has come of a file so far."""

    file: BinaryIO
    etag: str = ""
    wanted: str = ""
    """Digest that the server announced."""
    modified_ns: int = 0
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    @property
    def size(self) -> int:
        return self.file.tell()

    def begin(self, answer: requests.Response) -> None:
        """Take the whole file from an answer, whatever came before."""
        self.file.seek(0)
        self.file.truncate()
        self.digest = hashlib.sha256()
        self.etag = answer.headers.get("ETag", "")
        self.wanted = from_header(answer.headers.get("Repr-Digest", ""))
        modified = answer.headers.get(MODIFIED, "")
        self.modified_ns = int(modified) if modified.isdecimal() else 0

    def add(self, piece: bytes) -> None:
        """Append what came."""
        self.file.write(piece)
        self.digest.update(piece)


def download(
    session: requests.Session,
    url: str,
    target: Path,
    timeout: tuple[float, float],
    *,
    durably: bool,
) -> requests.Response:
    """Fetch a file, unless `target` is the same; return the last answer, whatever its status.

    On success `target` has the bytes of the announced digest, and the time of the last change of
    the file that was fetched; otherwise it is as it was.

    Args:
        session: with credentials.
        url: of the file.
        target: where it is to lie.
        timeout: seconds to connect, and between two bytes.
        durably: whether it outlives a crash, once this returns; a copy need not.

    Raises:
        requests.RequestException: there is no answer, or it broke off again and again.
        GatewayAway: what came does not have the digest that was announced.
        OSError: the file cannot be written.
    """
    ask = partial(session.get, url, stream=True, timeout=timeout)
    wrong = 0
    known = {}
    with suppress(FileNotFoundError):
        known = {"If-None-Match": f'"{digest_of(target)}"'}
    with _part_of(target) as (part, name):
        while True:
            answer = _received(ask, part, known)
            if answer.status_code not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
                return answer
            if part.wanted and part.digest.hexdigest() == part.wanted:
                _put_in_place(part, name, target, durably=durably)
                return answer
            wrong += 1
            if wrong == WRONG:
                raise GatewayAway(f"{url} sent {wrong} times other bytes than those of its digest")
            part.etag = ""  # the next request asks for all of it


@contextmanager
def _part_of(target: Path) -> Iterator[tuple[_Part, Path]]:
    handle, name = tempfile.mkstemp(PART, f"{target.name}.", target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield _Part(file), Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _received(ask: Ask, part: _Part, known: dict[str, str]) -> requests.Response:
    """Return the answer that brought the last byte of a file, or that is an error."""
    barren = 0
    while True:
        before = part.size
        try:
            answer = _once(ask, part, known)
        except (requests.ConnectionError, requests.Timeout):
            barren = 1 if part.size > before else barren + 1
            if barren == TRIES:
                raise
            time.sleep(PAUSE_S * 2 ** (barren - 1))
            continue
        if answer.status_code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return answer
        part.etag = ""  # the file is another one by now, and shorter


def _once(ask: Ask, part: _Part, known: dict[str, str]) -> requests.Response:
    """Ask for a file, or the rest of it, and add what comes."""
    headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
    if part.etag and part.size:
        # If-Range: of a file that has changed since, all of it comes (RFC 9110 13.1.5).
        headers |= {"Range": f"bytes={part.size}-", "If-Range": part.etag}
    else:
        headers |= known
    with ask(headers=headers) as answer:
        if answer.status_code == HTTPStatus.OK:
            part.begin(answer)
        elif answer.status_code != HTTPStatus.PARTIAL_CONTENT:
            return answer
        elif not answer.headers.get("Content-Range", "").startswith(f"bytes {part.size}-"):
            part.etag = ""
            raise requests.ConnectionError("another range than the one that was asked for")
        try:
            for piece in answer.iter_content(PIECE_BYTES):
                part.add(piece)
        except requests.exceptions.ChunkedEncodingError as error:
            raise requests.ConnectionError("the connection broke off") from error
        return answer


def _put_in_place(part: _Part, name: Path, target: Path, *, durably: bool) -> None:
    part.file.flush()
    if part.modified_ns:
        os.utime(part.file.fileno(), ns=(part.modified_ns, part.modified_ns))
    if durably:
        os.fsync(part.file.fileno())
    name.replace(target)
    if durably:
        sync_folder(target.parent)
