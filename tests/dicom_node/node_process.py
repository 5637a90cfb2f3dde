"""A node as a process of its own, which kills itself at a chosen point, once.

Processes are forked from a server that has imported all of it, so that each starts at once.
"""

import itertools
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import dicom_node.jobs.submit.correction_intake
import dicom_node.jobs.submit.submission
import dicom_node.node.node
import dicom_node.pipeline.process
import dicom_node.shadow.compute
import dicom_node.shadow.runner
from dicom_node.config.settings import Settings
from dicom_node.deliver.c_store_scu import StorePeer
from dicom_node.deliver.folder import FolderPeer
from dicom_node.errors import PeerUnavailable
from dicom_node.jobs.ledger import open_ledger
from dicom_node.logs import start_logging
from dicom_node.node.startup import starting
from dicom_node.receive.spool import Spool
from engine.device import Answer
from tests.engine.toy_model import write_toy_model
from tests.waiting import GENEROUS_S, wait_until

LIVER_HU = 70, 140


class Thresholds:
    """A device that takes everything as dense as the phantom's liver for liver."""

    name = "thresholds"
    batch = 8

    def run(self, hu, spacing_mm) -> Answer:
        liver = (hu >= LIVER_HU[0]) & (hu <= LIVER_HU[1])
        return Answer(liver.astype(np.uint8), np.ones((len(hu), 2, 2), np.float32))


@dataclass(frozen=True)
class Death:
    """Where a process kills itself."""

    owner: object
    attribute: str
    after: bool
    """Once the call has returned, or before it is made."""
    call: int = 1
    """At which of the calls."""
    times: int = 1
    """How many processes in turn do so."""


STAGES = {
    "receiving": Death(Spool, "put", after=False, call=4),
    "complete": Death(dicom_node.jobs.submit.submission, "submit", after=False),
    "waiting": Death(dicom_node.jobs.submit.submission, "submit", after=True),
    "reading": Death(dicom_node.pipeline.process, "stack_volume", after=True),
    "segmenting": Death(Thresholds, "run", after=False, call=2),
    "before the SEG is written": Death(dicom_node.pipeline.process, "keep_or_write", after=False),
    "after the SEG is written": Death(dicom_node.pipeline.process, "keep_or_write", after=True),
    "before the report is written": Death(
        dicom_node.pipeline.process, "keep_or_write", after=False, call=2
    ),
    "before delivery": Death(FolderPeer, "send", after=False),
    "after delivery": Death(FolderPeer, "send", after=True),
    "after confirmation": Death(FolderPeer, "confirm", after=True),
}

SHADOW_STAGES = {
    "while the shadow computes": Death(dicom_node.shadow.compute, "segment", after=False),
    "once the shadow has computed": Death(
        dicom_node.shadow.runner, "write_kept_labels", after=True
    ),
    "before the shadow is compared": Death(
        dicom_node.shadow.runner, "compare_shadow", after=False, call=2
    ),
}
"""Those of a shadow model, which is at work once the job is done."""

ALWAYS = 1_000
COMPARING = "while a correction is compared"
CORRECTION_STAGES = {
    COMPARING: Death(
        dicom_node.jobs.submit.correction_intake, "drawing_of", after=False, times=ALWAYS
    )
}


class SleepingThresholds(Thresholds):
    """A device that sleeps for each slice, as a process does while its GPU computes."""

    def __init__(self, slice_s: float) -> None:
        self.slice_s = slice_s

    def run(self, hu, spacing_mm) -> Answer:
        time.sleep(len(hu) * self.slice_s)
        return super().run(hu, spacing_mm)


def run_node(settings: dict[str, Any], kill_at: str, folder: Path, device: Thresholds) -> None:
    """Run a node until it is told to stop, or until it kills itself.

    Whatever it prints, logs or warns about is in `folder/log`.
    """
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    start_logging("DEBUG")
    marker = folder / "killed"
    death = (STAGES | SHADOW_STAGES | CORRECTION_STAGES).get(kill_at)
    if death is not None and deaths_at(marker) < death.times:
        setattr(death.owner, death.attribute, dying(death, marker))
    engine = {"model": folder / "model", **settings.get("engine", {})}
    chosen = Settings(**settings | {"engine": engine})
    with starting(chosen, lambda model, settings: device) as opened:
        dicom_node.node.node.serve(opened)
    os._exit(0)  # as `hepar serve` does


def dying(death: Death, marker: Path) -> Callable[..., Any]:
    """Return what the attribute does, up to the call that ends this process with kill -9."""
    does, calls = getattr(death.owner, death.attribute), itertools.count(1)

    def call(*arguments: Any, **named: Any) -> Any:
        last = next(calls) == death.call
        if last and not death.after:
            die(marker)
        answer = does(*arguments, **named)
        if last:
            die(marker)
        return answer

    return call


def deaths_at(marker: Path) -> int:
    """Return how many processes have killed themselves."""
    return len(marker.read_bytes()) if marker.exists() else 0


def die(marker: Path) -> None:
    with marker.open("ab") as file:
        file.write(b"x")
    os.kill(os.getpid(), signal.SIGKILL)


class NodeProcess:
    """A node in `folder` that kills itself at a stage, the first time it gets there."""

    def __init__(self, folder, kill_at="", data=None, device=None, **sections):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.data = data or folder / "data"
        self.delivered = self.data / "delivered"
        write_toy_model(folder / "model")
        self.log, self.marker = folder / "log", folder / "killed"
        self.peer = StorePeer("node", "HEPAR", "127.0.0.1", port)
        self.settings = {
            "node": {"data": self.data, "port": port},
            "receive": {"quiet_s": 0.5, "resend_s": 0, "keep_free_mb": 0},
            **sections,
        }
        self.arguments = self.settings, kill_at, folder, device or Thresholds()
        self.process = None

    def start(self):
        self.begin()
        wait_until(self.answers)

    def begin(self):
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.dicom_node.node_process"])
        # A daemon: the tests otherwise wait at their end for one that they have left running.
        self.process = context.Process(target=run_node, args=self.arguments, daemon=True)
        self.process.start()

    def answers(self):
        assert self.process.is_alive(), "the node ended at once"
        try:
            self.peer.echo()
        except PeerUnavailable:
            return False
        return True

    def jobs(self):
        with open_ledger(f"sqlite:///{self.data / 'jobs.sqlite'}") as ledger:
            return ledger.jobs()

    def stop(self):
        self.process.terminate()
        self.process.join(GENEROUS_S)
        assert self.process.exitcode == 0
