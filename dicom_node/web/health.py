"""Checks of a running node: whether it is alive, and whether it could finish a series now."""

import os
import shutil
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from dicom_node.config.own_receiver import echo_itself
from dicom_node.errors import NodeError
from dicom_node.jobs.ledger import Ledger
from dicom_node.jobs.state import Job, State
from dicom_node.jobs.store import connectable
from dicom_node.jobs.workflows import postponed_queue
from dicom_node.web.probe import Finding, Probe, findings
from dicom_node.web.view import NodeView
from engine.errors import EngineError

NEWEST = 500
"""Newest jobs that are looked at."""

ANSWER_S = 5.0
"""Seconds within which the node must answer its own C-ECHO."""


class Health:
    """Checks of one node."""

    def __init__(self, node: NodeView, ledger: Ledger) -> None:
        self._node = node
        self._ledger = ledger
        # What other processes do, they answer for.
        receives, computes = node.dicom is not None, node.device is not None
        delivers = computes or not receives  # a gateway receives also while an archive is away
        self._alive = [
            *([Probe("listener", self._listener)] if receives else []),
            *([Probe("assembler", self._assembler)] if receives else []),
            *([Probe("workers", self._workers)] if computes else []),
        ]
        self._ready = [
            Probe("disk", self._disk),
            Probe("data folder", self._writable),
            Probe("job store", self._store),
            *([Probe("device", self._device)] if computes else []),
            *([Probe("peers", self._peers)] if delivers else []),
            *([Probe("steps", self._steps)] if node.newer_waiting else []),
        ]

    def alive(self) -> list[Finding]:
        """Check whether the node does its work; a restart may help where it does not."""
        return findings(self._alive)

    def ready(self) -> list[Finding]:
        """Check whether the node would receive a series now and finish it."""
        found = findings([*self._alive, *self._ready])
        return [*found, *self._draining(), *self._shadow()]

    def _draining(self) -> list[Finding]:
        """Return that this process takes nothing new, if so: a balancer is to leave it out."""
        if not self._node.closed():
            return []
        reason = "it takes nothing new; `hepar drain NODE --undo` lets it take series again"
        return [Finding("draining", False, reason)]

    def _shadow(self) -> list[Finding]:
        """Return what the shadow model does; it never fails, as no series waits for it."""
        status = self._node.shadow()
        return [Finding("shadow", True, status.text)] if status else []

    def _listener(self) -> Finding:
        assert self._node.dicom is not None
        port = self._node.dicom[1]
        try:
            answer = echo_itself(self._node.settings, self._node.dicom, ANSWER_S)
        except NodeError as error:
            return Finding("listener", False, f"no answer to C-ECHO on port {port}: {error}")
        return Finding("listener", True, f"{answer} on port {port}")

    def _assembler(self) -> Finding:
        if self._node.assembling():
            return Finding("assembler", True, "completes series")
        return Finding("assembler", False, "its thread has ended or hangs; restart the node")

    def _workers(self) -> Finding:
        """Find a queue that has stopped, or a job that is computed and makes no progress."""
        try:
            jobs = self._ledger.jobs(NEWEST)
        except SQLAlchemyError:
            # Not failed: a restart, which this check may cause, would bring no store back.
            return Finding("workers", True, "unknown while the job store cannot be read")
        limit = timedelta(seconds=self._node.settings.http.stuck_s)
        silent = timedelta(seconds=self._node.progress.silent_s)
        return _queue_moves(jobs, datetime.now(UTC), limit, silent)

    def _disk(self) -> Finding:
        needed = self._node.settings.receive.keep_free_mb
        try:
            free = shutil.disk_usage(self._node.data.folder).free >> 20
        except OSError as error:
            return Finding("disk", False, f"{self._node.data.folder}: {error.strerror}")
        if free < needed:
            return Finding(
                "disk",
                False,
                f"{free} MB free, {needed} MB needed (receive.keep_free_mb); instances are refused",
            )
        return Finding("disk", True, f"{free} MB free, {needed} MB needed")

    def _writable(self) -> Finding:
        try:
            for folder in (self._node.data.spool, self._node.results):
                folder.mkdir(parents=True, exist_ok=True)
                # Tried, as rights tell little: a disk may be mounted read-only, or its quota used
                # up.
                handle, name = tempfile.mkstemp(dir=folder, suffix=".part")
                os.close(handle)
                Path(name).unlink()
        except OSError as error:
            return Finding("data folder", False, f"cannot write to {folder}: {error.strerror}")
        return Finding("data folder", True, "can be written")

    def _store(self) -> Finding:
        """Take the write lock of the job store and release it again."""
        url = self._node.settings.database_url
        sqlite = url.startswith("sqlite")
        # To connect would make an empty one, and hide the loss.
        if sqlite and not Path(url.removeprefix("sqlite:///")).exists():
            return Finding("job store", False, "its file is gone; restart the node")
        # Its own engine: a check that hangs keeps no connection of the node's pool. AUTOCOMMIT, or
        # SQLAlchemy would begin a transaction before ours.
        engine = create_engine(connectable(url), isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                # SQLite's write lock: a plain BEGIN would only succeed to read.
                connection.execute(text("BEGIN IMMEDIATE" if sqlite else "BEGIN"))
                connection.execute(text("ROLLBACK"))
        except SQLAlchemyError as error:
            return Finding("job store", False, f"{type(error).__name__}: it cannot be written")
        finally:
            engine.dispose()
        return Finding("job store", True, "can be written")

    def _device(self) -> Finding:
        assert self._node.device is not None
        try:
            return Finding("device", True, self._node.device())
        except EngineError as error:
            return Finding("device", False, str(error))

    def _peers(self) -> Finding:
        limit_s = self._node.settings.http.peer_failing_s
        before = datetime.now(UTC) - timedelta(seconds=limit_s)
        try:
            jobs = [job for job in self._ledger.jobs(NEWEST) if job.created < before]
        except SQLAlchemyError:
            return Finding("peers", True, "unknown while the job store cannot be read")
        failing = sorted(
            {each.peer for job in jobs for each in job.deliveries if each.state.active}
        )
        if failing:
            names = ", ".join(failing)
            return Finding("peers", False, f"results wait for longer than {limit_s:g} s: {names}")
        return Finding("peers", True, f"no result waits for longer than {limit_s:g} s")

    def _steps(self) -> Finding:
        """Find jobs that no worker takes, because those that run are of an older release."""
        assert self._node.newer_waiting is not None
        try:
            waiting = self._node.newer_waiting(self._ledger)
        except SQLAlchemyError:
            return Finding("steps", True, "unknown while the job store cannot be read")
        return Finding("steps", not waiting, waiting or "no job waits for a newer worker")


def _queue_moves(
    jobs: Sequence[Job], now: datetime, limit: timedelta, silent: timedelta = timedelta()
) -> Finding:
    late = [job for job in jobs if job.state is State.WAITING and now - job.created > limit]
    if postponed := [job for job in late if job.queue.startswith(postponed_queue(""))]:
        return Finding("workers", False, f"job {postponed[0].id} waits: {postponed[0].reason}")
    waiting = [job.created for job in jobs if job.state is State.WAITING]
    computing = any(job.state is State.SEGMENTING for job in jobs)
    if waiting and not computing and now - min(waiting) > limit:
        minutes = (now - min(waiting)).total_seconds() / 60
        return Finding("workers", False, f"a job has waited for {minutes:.0f} minutes; restart")
    if computing and silent > limit:
        minutes = silent.total_seconds() / 60
        return Finding(
            "workers", False, f"a series has made no progress for {minutes:.0f} minutes; restart"
        )
    return Finding("workers", True, f"{len(waiting)} jobs wait")
