"""A gateway's door on a free port, whose answers can be cut short or changed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.uid import generate_uid
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dicom_node.cluster.fenced_worker import TakenOver
from dicom_node.data_folder import DataFolder
from dicom_node.deliver.web_session import WebSession
from dicom_node.fetched.transfer.door import to_app
from dicom_node.fetched.transfer.held_files import HeldFiles
from dicom_node.fetched.transfer.holder import Holder
from dicom_node.net.http.serving import serving
from dicom_node.receive.header import SeriesKey

TOKEN = "open sesame"
JOB = "0123456789abcdef"
SERIES = SeriesKey("1.2.3", "1.2.3.4")


class Cut(Exception):
    """Ends an answer in the middle, and the connection with it."""


@dataclass
class Disturbed:
    """An application whose answers with a body pass through `disturb`, one call for each."""

    app: ASGIApp
    disturb: list[Callable[[bytes], bytes]] = field(default_factory=list)
    """Taken from the front; what is left of a body, or `cut_at`."""
    cut_at: list[int] = field(default_factory=list)
    """Bytes after which each of the next answers breaks off."""
    statuses: list[int] = field(default_factory=list)
    """With which the next requests are answered, in place of the application; 0: by it."""
    asked: list[tuple[str, str, Headers]] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked.append((scope["method"], scope["path"], Headers(scope=scope)))
        if self.statuses and (status := self.statuses.pop(0)):
            await Response(status_code=status)(scope, receive, send)
            return
        cut = self.cut_at.pop(0) if self.cut_at else None
        change = self.disturb.pop(0) if self.disturb else None
        sent = 0

        async def disturbed(message: Message) -> None:
            nonlocal sent
            body = message.get("body", b"")
            if body and change:
                message = {**message, "body": change(body)}
            if body and cut is not None and sent + len(body) > cut:
                await send({**message, "body": body[: cut - sent], "more_body": True})
                raise Cut
            sent += len(body)
            await send(message)

        await self.app(scope, receive, disturbed)


@dataclass
class Lender:
    """A gateway that lends what lies in its folder."""

    data: DataFolder
    door: Disturbed
    holder: Holder

    def instance(self, content: bytes) -> str:
        """Add an instance of `SERIES`; return the name of its file."""
        name = f"{generate_uid()}.dcm"
        folder = self.data.spool / SERIES.study_uid / SERIES.series_uid
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
        return name

    def path(self, name: str) -> Path:
        return self.data.spool / SERIES.study_uid / SERIES.series_uid / name


EXECUTOR = "work-1"
"""The process that works on every job."""


@contextmanager
def owned(job: str, executor: str) -> Iterator[None]:
    if executor != EXECUTOR:
        raise TakenOver(job)
    yield


@contextmanager
def lender(folder: Path, name: str = "receive-1") -> Iterator[Lender]:
    data = DataFolder(folder)
    for each in (data.spool, data.results):
        each.mkdir(parents=True)
    door = Disturbed(to_app(HeldFiles(data), TOKEN, owned))
    with serving(door, ("127.0.0.1", 0), "cluster") as (host, port):
        yield Lender(data, door, holder(name, port, host))


def holder(name: str, port: int, host: str = "127.0.0.1", token: str = TOKEN) -> Holder:
    return Holder(name, WebSession(name, f"http://{host}:{port}", token=token, connect_s=2))
