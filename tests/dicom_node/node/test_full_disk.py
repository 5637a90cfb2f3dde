"""A full disk, at each place where the node writes: all goes on by itself once there is room."""

import errno
import os
import threading
from collections import Counter
from pathlib import Path

import pytest
from pydicom.uid import generate_uid
from sqlalchemy import Engine, event
from sqlalchemy.exc import OperationalError

from dicom_node.config.settings import Settings
from dicom_node.deliver.c_store_scu import StorePeer
from dicom_node.errors import PeerUnavailable
from dicom_node.jobs import watchdog
from dicom_node.jobs.ledger import open_ledger
from dicom_node.jobs.state import State
from dicom_node.node.node import running_node
from dicom_node.pipeline import disk_room
from dicom_node.receive import incoming_series
from dicom_node.results.phantom import write_series
from engine import durable_files
from engine.phantom import make_phantom
from tests.dicom_node.node_process import Thresholds
from tests.engine.toy_model import write_toy_model
from tests.waiting import wait_until

PLACES = [
    "/spool/",
    "/crashes/",
    "/results/",
    "/shelf",
    "store: INSERT INTO main.workflow_status",
    "store: UPDATE main.workflow_status",
    "store: INSERT INTO main.operation_outputs",
    "store: INSERT INTO main.workflow_output",
]
"""Places to which a series is written; the first write to each finds no room."""


class Disk:
    """A disk without room for the first writes to each place."""

    def __init__(self):
        self._lock = threading.Lock()
        self.left = Counter()

    def is_full(self, name):
        with self._lock:
            place = next((each for each in self.left if each in name and self.left[each]), None)
            if place:
                self.left[place] -= 1
            return place is not None


@pytest.fixture(scope="module")
def disk():
    """Let durable files and the job store find no room."""
    disk, fsync = Disk(), os.fsync

    def full_fsync(handle):
        if disk.is_full(str(Path(f"/proc/self/fd/{handle}").readlink())):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(handle)

    def full_store(connection, cursor, statement, *_):
        if disk.is_full(f"store: {statement}"):
            raise OperationalError(statement, {}, Exception("database or disk is full"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(durable_files.os, "fsync", full_fsync)
        patch.setattr(disk_room, "ROOM_S", 0.05)
        patch.setattr(watchdog, "ROUND_S", 0.2)
        patch.setattr(incoming_series, "TRY_AGAIN_S", 0.1)
        event.listen(Engine, "before_cursor_execute", full_store)
        yield disk
        event.remove(Engine, "before_cursor_execute", full_store)


@pytest.fixture(scope="module")
def node(disk, tmp_path_factory):
    folder = tmp_path_factory.mktemp("node")
    settings = Settings(
        node={"data": folder / "data", "port": 0},
        receive={"quiet_s": 0.2, "resend_s": 0, "keep_free_mb": 0},
        engine={"model": write_toy_model(folder / "model")},
        peers={
            "shelf": {
                "kind": "folder",
                "folder": folder / "shelf",
                "objects": ["seg", "report"],
            }
        },
    )
    with (
        running_node(settings, open_device=lambda model, settings: Thresholds()) as node,
        open_ledger(settings.database_url) as ledger,
    ):
        yield StorePeer("node", node.ae_title, *node.address), ledger


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    made = make_phantom(shape=(12, 32, 32), spacing_mm=(10, 12, 12), noise_hu=2, tumours=0)
    return write_series(made, generate_uid(), tmp_path_factory.mktemp("sent"))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_full_disk_heals_by_itself_wherever_the_node_writes(node, disk, series):
    receiver, ledger = node
    disk.left.update(PLACES)
    while True:
        try:
            receiver.send_many(series)
            break
        except PeerUnavailable:  # 0xA700, out of resources: a sender tries again later
            continue
    wait_until(
        lambda: any(not job.state.active for job in ledger.jobs()), seconds=300, what="its end"
    )
    (job,) = ledger.jobs()
    assert (job.state, job.reason) == (State.DONE, "")
    assert not +disk.left
