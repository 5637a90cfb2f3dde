"""Damage guided by coverage (atheris) to what comes from outside: `make soak`, or by itself.

    python -m tests.benchmarks.fuzz reader|upload|association --seconds 300 --seed 1

Ends with a stack trace, and the input as `bench/crash-…`, at the first that does not end as it
should.
"""

import argparse
import asyncio
import logging
import socket
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path

import atheris

# Before they are imported anywhere: what is imported here is what the search learns from.
with atheris.instrument_imports(
    include=["pydicom", "pynetdicom", "python_multipart", "dicom_node"]
):
    from pydicom import dcmwrite
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
    from pynetdicom import AE

    from dicom_node.audit.instances import study_of
    from dicom_node.errors import RejectedInstance
    from dicom_node.jobs.content_digest import content_digest
    from dicom_node.jobs.submit.modality import modality_of
    from dicom_node.net.data_set_file import LargeDataSets
    from dicom_node.receive.part10_intake import to_instance
    from dicom_node.receive.scp import listen
    from dicom_node.receive.spool import Spool
    from dicom_node.series.reading import read_files
    from dicom_node.web.multipart_stream import BadMultipart, MultipartStream, TooMuch
    from dicom_node.web.stow import Part

from tests.conftest import make_ct_series
from tests.waiting import wait_until

HEAD = b"\r\n--b\r\nContent-Type: application/dicom\r\n\r\n"
TAIL = b"\r\n--b--\r\n"
ANSWER_S = 60.0

Fuzzed = Callable[[bytes], None]


def seed_file() -> bytes:
    """Return a small CT slice as a file."""
    (instance,) = make_ct_series(1, rows=8, columns=8)
    file = BytesIO()
    dcmwrite(file, instance, enforce_file_format=True)
    return file.getvalue()


@contextmanager
def reader(folder: Path) -> Iterator[tuple[Fuzzed, bytes]]:
    """Read a file as everything does that looks at a received one."""

    def fuzzed(content: bytes) -> None:
        path = folder / "1.2.dcm"
        path.write_bytes(content)
        with suppress(RejectedInstance):
            to_instance(content, "CT").checked_header()
        study_of("1.2.3", [path])
        modality_of(path)
        content_digest([path])
        read_files([path])

    yield fuzzed, seed_file()


@contextmanager
def upload(folder: Path) -> Iterator[tuple[Fuzzed, bytes]]:
    """Read the body of a STOW-RS request, and each instance in it."""
    large = LargeDataSets(folder)

    def fuzzed(content: bytes) -> None:
        complete: list[Part] = []
        stream = MultipartStream(b"b", lambda headers: Part(complete, headers, large))
        with suppress(BadMultipart, TooMuch):
            for at in range(0, len(content), 512):
                stream.write(content[at : at + 512])
            stream.finish()
        for part in complete:
            with suppress(RejectedInstance):
                to_instance(bytes(part.content()), "CT").checked_header()

    yield fuzzed, HEAD + seed_file() + TAIL


@contextmanager
def association(folder: Path) -> Iterator[tuple[Fuzzed, bytes]]:
    """Send bytes to a receiver: it ends the connection, keeps no slot and no thread, serves on."""
    died: list[str] = []

    def note(failed: threading.ExceptHookArgs) -> None:
        place = traceback.extract_tb(failed.exc_traceback)[-1]
        # pynetdicom's own thread ends with InvalidEventError where PDUs come out of turn; the node
        # ends the association then.
        if "dicom_node" in place.filename:
            died.append(f"{failed.exc_type.__name__} at {place.filename}:{place.lineno}")

    threading.excepthook = note
    server = listen("TEST", ("127.0.0.1", 0), Spool(folder / "spool"))
    address = server.socket.getsockname()
    sent = recorded(address)
    threads = threading.active_count()
    sender, count = AE("CT"), 0
    sender.add_requested_context("1.2.840.10008.1.1")

    def fuzzed(content: bytes) -> None:
        nonlocal count
        count += 1
        with suppress(ConnectionError), socket.create_connection(address, ANSWER_S) as connection:
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(1 << 16):
                pass
        assert not died, died
        if count % 100 == 0:
            echo = sender.associate(*address)
            assert echo.is_established
            assert echo.send_c_echo().Status == 0x0000
            echo.release()
            wait_until(lambda: not server.active_associations, what="the end of associations")
            wait_until(lambda: threading.active_count() <= threads, what="the end of threads")

    yield fuzzed, sent


def recorded(address: tuple[str, int]) -> bytes:
    """Return what a sender of one instance sends."""
    sent = bytearray()
    (instance,) = make_ct_series(1, rows=8, columns=8)
    sender = AE("CT")
    sender.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        passing = threading.Thread(target=asyncio.run, args=(_pass_on(listening, address, sent),))
        passing.start()
        association = sender.associate(*listening.getsockname())
        assert association.send_c_store(instance).Status == 0x0000
        association.release()
        passing.join()
    return bytes(sent)


async def _pass_on(listening: socket.socket, address: tuple[str, int], sent: bytearray) -> None:
    """Pass one connection on in both directions, and keep what its client sends."""
    done = asyncio.Event()

    async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter, kept: bytearray):
        while piece := await source.read(1 << 16):
            kept += piece
            target.write(piece)
        target.close()

    async def pass_on(source: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        answers, target = await asyncio.open_connection(*address)
        await asyncio.gather(copy(source, target, sent), copy(answers, back, bytearray()))
        done.set()

    async with await asyncio.start_server(pass_on, sock=listening):
        await done.wait()


TARGETS = {each.__name__: each for each in (reader, upload, association)}


def main() -> None:
    """Damage inputs of one kind for so many seconds."""
    options = argparse.ArgumentParser(description="Damage what comes from outside.")
    options.add_argument("target", choices=TARGETS)
    options.add_argument("--seconds", type=int, default=300)
    options.add_argument("--seed", type=int, default=1)
    asked = options.parse_args()
    Path("bench").mkdir(exist_ok=True)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory(prefix="hepar-fuzz-") as name:
        folder, corpus = Path(name), Path(name) / "corpus"
        corpus.mkdir()
        with TARGETS[asked.target](folder) as (fuzzed, first):
            (corpus / "first").write_bytes(first)
            limits = [f"-max_total_time={asked.seconds}", f"-seed={asked.seed}"]
            limits += [f"-max_len={2 * len(first)}", "-timeout=120", "-rss_limit_mb=4096"]
            limits += ["-artifact_prefix=bench/"]
            atheris.Setup([sys.argv[0], *limits, str(corpus)], fuzzed)
            # It ends the process.
            atheris.Fuzz()


if __name__ == "__main__":
    main()
