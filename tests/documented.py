"""The commands that documents show, and the place in which a test runs them."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from dicom_node.net.connection import prepare_connection
from dicom_node.results.phantom import write_series
from engine.phantom import make_phantom
from tests.dicom_node.retrieve.archives import tell
from tests.system.segmented import paint
from tests.system.servers import free_port

PROGRAMS = "hepar|make|docker|systemctl|curl|tar|find|ln|export|python3|pip"
COMMAND = re.compile(rf"(?:[A-Z_]+=\S+ )?(?:/opt/hepar/bin/)?(?:{PROGRAMS})\b .+")
SERVE = (sys.executable, "-c", "from dicom_node.main import main; main()", "serve", "--config")


def commands(document: Path) -> list[str]:
    """Return each command of a document, of its blocks and within its sentences."""
    text = document.read_text("utf-8")
    blocks = re.findall(r"^ *```sh\n(.*?)```", text, re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    prose = re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)
    shown = [re.sub(r"\s+# .*", "", line).strip() for line in lines]
    shown += [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]
    found = dict.fromkeys(line for line in shown if COMMAND.fullmatch(line))
    return [re.sub(r"^/opt/hepar/bin/hepar", "hepar", line) for line in found]


@dataclass(frozen=True)
class Place:
    """A folder with a node that runs, an archive, and what commands are about."""

    folder: Path
    http_port: int
    jobs: tuple[str, ...]
    """Done jobs: the last one may be removed."""
    series_uid: str
    model: Path

    def fill(self, line: str) -> str:
        """Put this place's names for the words that stand for a reader's own."""
        removed = "jobs remove" in line
        words = {
            r"\bmodel show FOLDER\b": f"model show {self.model}",
            r"\bFOLDER\b": "series",
            r"\bDIR\b": "out",
            r"\bPEER\b": "archive",
            r"\bJOB\b": self.jobs[-1 if removed else 0],
            r"\bUID\b": self.series_uid,
            r"/tmp/demo\b": str(self.folder / "demo"),
            r"/var/lib/hepar\b": str(self.folder / "var" / "hepar"),
            r"127\.0\.0\.1:11180\b": f"127.0.0.1:{self.http_port}",
        }
        for word, mine in words.items():
            line = re.sub(word, mine, line)
        return line


class Archive:
    """An archive that holds CT series, accepts results, and confirms them by C-FIND."""

    def __init__(self, instances: list[Dataset], node: tuple[str, int]) -> None:
        self.instances, self.node, self.kept = instances, node, set[str]()
        entity = AE("ARCHIVE")
        entity.add_supported_context(Verification)
        entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
        entity.add_supported_context(StudyRootQueryRetrieveInformationModelMove)
        for context in AllStoragePresentationContexts:
            syntaxes = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
            entity.add_supported_context(context.abstract_syntax, syntaxes)
        entity.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
        handlers = [
            (evt.EVT_CONN_OPEN, prepare_connection, [30.0, 1 << 20]),
            (evt.EVT_C_STORE, self.keep),
            (evt.EVT_C_FIND, self.find),
            (evt.EVT_C_MOVE, self.move),
        ]
        self.server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        self.port = int(self.server.socket.getsockname()[1])

    def keep(self, event: Any) -> int:
        """Accept an instance."""
        self.kept.add(str(event.request.AffectedSOPInstanceUID))
        return 0

    def find(self, event: Any) -> Iterator[tuple[int, Dataset]]:
        """Answer a search for studies, series or one instance."""
        asked = event.identifier
        keys = {each.keyword: str(each.value) for each in asked if each.value}
        level = keys.pop("QueryRetrieveLevel")
        if level == "IMAGE":
            if keys.get("SOPInstanceUID") in self.kept:
                yield 0xFF00, asked
            return
        for answer in tell(self.instances, level, keys):
            yield 0xFF00, answer

    def move(self, event: Any) -> Iterator[Any]:
        """Send a series to the node."""
        uid = event.identifier.SeriesInstanceUID
        series = [each for each in self.instances if each.SeriesInstanceUID == uid]
        yield self.node
        yield len(series)
        for instance in series:
            yield 0xFF00, instance


def write_phantoms(folder: Path, count: int) -> list[Path]:
    """Write small series of today's studies, in which the toy model finds liver and tumours."""
    made = paint(make_phantom(shape=(6, 64, 64), spacing_mm=(40, 6, 6)))
    folders = [folder / f"series{number}" for number in range(count)]
    for each in folders:
        for path in write_series(made, each.name, each):
            instance = dcmread(path)
            instance.StudyDate = instance.SeriesDate = f"{date.today():%Y%m%d}"
            instance.save_as(path)
    return folders


@contextmanager
def serving(folder: Path, model: Path) -> Iterator[tuple[subprocess.Popen[bytes], int, Archive]]:
    """Run `hepar serve --config hepar.toml` in a folder, beside an archive with one series."""
    port, http_port = free_port(), free_port()
    (held,) = write_phantoms(folder / "held", 1)
    archive = Archive([dcmread(path) for path in sorted(held.iterdir())], ("127.0.0.1", port))
    data = folder / "data"
    (folder / "hepar.toml").write_text(
        f'[node]\nport = {port}\ndata = "{data}"\n[receive]\nquiet_s = 0.5\nkeep_free_mb = 0\n'
        f'[http]\nport = {http_port}\n[engine]\nmodel = "{model}"\n'
        f'[peers.archive]\nkind = "store"\nae_title = "ARCHIVE"\nhost = "127.0.0.1"\n'
        f'port = {archive.port}\nconfirm = "find"\n'
    )
    with (folder / "serve.log").open("w") as log:
        node = subprocess.Popen([*SERVE, "hepar.toml"], cwd=folder, stdout=log, stderr=log)
    try:
        yield node, http_port, archive
    finally:
        node.terminate()
        node.wait(60)
        archive.server.shutdown()
