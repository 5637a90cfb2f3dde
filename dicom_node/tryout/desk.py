"""The desk: takes uploads, computes one after another, and keeps the results for a while."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from queue import Empty, Queue

from dicom_node.error_location import is_panic, unforeseen
from dicom_node.errors import NodeError, NoRoomForUpload, lacks_room
from dicom_node.tryout.bounds import Bounds, Tally
from dicom_node.tryout.compute import Means, compute
from dicom_node.tryout.shelf import Shelf
from dicom_node.tryout.sorting import sort
from dicom_node.tryout.tryout import Stage, Tryout
from dicom_node.tryout.upload import Upload
from engine.errors import EngineError

logger = logging.getLogger(__name__)

MOST_WAITING = 8
"""Uploads that wait; one more is refused."""
STOP_S = 5.0
"""Seconds that a stop waits for what is computed."""
SWEEP_S = 60.0
"""Seconds between two looks for results whose time is over."""
FULL = "the node's disk is full; free space, then drop the files again"
INTERRUPTED = "the node was restarted while this was computed; drop the files again"


class Withdrawn(Exception):
    """A person removed the upload that is being computed."""


class Desk:
    """Uploads of one node."""

    def __init__(self, shelf: Shelf, bounds: Bounds, means: Means) -> None:
        self.shelf = shelf
        self.bounds = bounds
        self._means = means
        self._waiting: Queue[str] = Queue()
        self._active: dict[str, Tryout] = {}
        """Uploads that wait or are computed; written by the thread that holds the lock."""
        self._removed: set[str] = set()
        """Those that a person removed while they were computed."""
        self._lock = threading.Lock()

    def open_upload(self, user: str) -> tuple[Tryout, Upload]:
        """Return the record of a new upload, and what takes its files.

        Raises:
            NoRoomForUpload: too many wait already.
        """
        with self._lock:
            if len(self._active) >= MOST_WAITING:
                raise NoRoomForUpload(f"{MOST_WAITING} uploads wait already; try again later")
        made = self.shelf.create(user)
        return made, Upload(self.shelf.uploaded(made.id), self.bounds)

    def submit(self, tryout: Tryout) -> None:
        """Queue an upload whose files are all here."""
        self.shelf.save(tryout)
        with self._lock:
            self._active[tryout.id] = tryout
        self._waiting.put(tryout.id)

    def find(self, name: str) -> Tryout:
        """Return an upload as it is now.

        Raises:
            UnknownTryout: there is none.
        """
        with self._lock:
            active = self._active.get(name)
        return active or self.shelf.find(name)

    def of(self, user: str) -> list[Tryout]:
        """Return the uploads of one user, the newest first."""
        return [self.find(each.id) for each in self.shelf.all() if each.user == user]

    def remove(self, name: str) -> None:
        """Remove an upload and its results; one that is computed ends with its next batch."""
        with self._lock:
            if self._active.pop(name, None):
                self._removed.add(name)
        self.shelf.remove(name)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Compute uploads while the block lasts."""
        self._close_interrupted()
        stopping = threading.Event()
        thread = threading.Thread(target=self._run, args=(stopping,), name="tries", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stopping.set()
            with self._lock:
                self._active.clear()  # what is computed ends with its next batch
            self._waiting.put("")
            thread.join(STOP_S)  # a daemon: its record makes the next start name what was cut off

    def _close_interrupted(self) -> None:
        """End what the process before this one has left undone."""
        for each in self.shelf.all():
            if each.stage.active:
                self.shelf.drop_uploaded(each.id)
                self.shelf.save(replace(each, stage=Stage.FAILED, error=INTERRUPTED))

    def _run(self, stopping: threading.Event) -> None:
        while not stopping.is_set():
            try:
                self._take(self._waiting.get(timeout=SWEEP_S))
            except Empty:
                self._sweep()
            # The edge of this thread: whatever one upload did, the next is computed.
            except Exception as error:
                logger.error("failed: %s", unforeseen(error), extra={"action": "try"})

    def _sweep(self) -> None:
        for name in self.shelf.sweep(datetime.now(UTC)):
            logger.info("removed after its time", extra={"action": "try", "job": name})

    def _take(self, name: str) -> None:
        with self._lock:
            tryout = self._active.get(name)
        if tryout is None:
            return  # removed while it waited
        ended = self._ended(tryout)
        with self._lock:
            kept = self._active.pop(name, None) is not None
        if kept:
            self.shelf.drop_uploaded(name)
            self.shelf.save(ended)
        elif name in self._removed:
            self.shelf.remove(name)  # with what was written meanwhile
            self._removed.discard(name)
        extra = {"action": "try", "job": name}
        logger.info("%s: %s", ended.stage, ended.error or "kept", extra=extra)
        self._sweep()

    def _ended(self, tryout: Tryout) -> Tryout:
        try:
            with self._means.at_work(f"try-{tryout.id}"):
                return self._computed(self._note(replace(tryout, stage=Stage.COMPUTING)))
        except Withdrawn:
            return replace(tryout, stage=Stage.FAILED, error="removed")
        except (NodeError, EngineError) as error:
            return replace(tryout, stage=Stage.FAILED, error=str(error))
        # The edge of one upload: its file may do anything to a reader. Not the error's words.
        except BaseException as error:
            if not (isinstance(error, Exception) or is_panic(error)):
                raise
            why = FULL if lacks_room(error) else unforeseen(error)
            return replace(tryout, stage=Stage.FAILED, error=why)

    def _computed(self, tryout: Tryout) -> Tryout:
        folder = self.shelf.uploaded(tryout.id)
        found = sort(folder, Tally(self.bounds, folder))
        now = replace(tryout, passed_over=len(found.dicom.others))
        announced = [now]

        def announce(what: str) -> None:
            announced[0] = self._note(replace(now, at_work=what))

        def progress(done: int, of: int) -> None:
            self._note(replace(announced[0], slices=(done, of)))

        made = compute(found, folder.parent, self._means, announce, progress)
        return replace(now, stage=Stage.DONE, scans=tuple(made))

    def _note(self, tryout: Tryout) -> Tryout:
        """Show how far an upload is.

        Raises:
            Withdrawn: it was removed, or the node stops.
        """
        with self._lock:
            if tryout.id not in self._active:
                raise Withdrawn
            self._active[tryout.id] = tryout
        return tryout
