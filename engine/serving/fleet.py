"""Which device serves: the first in order that can, chosen anew between two jobs."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from time import monotonic

from engine.device import Device
from engine.errors import DeviceFailed, EngineError, LibraryMissing, UnknownPlan
from engine.model import PROGRAM, Model
from engine.plans.serving import SERVING
from engine.plans.store import PlanStore
from engine.serving.cpu import open_device

logger = logging.getLogger(__name__)

REST_S = 600.0
"""A device that failed in a job is left alone this long, unless another plan becomes active."""


@dataclass(frozen=True)
class Opener:
    """One device that may serve."""

    name: str
    open: Callable[[], Device]
    """Raises an `EngineError` where it cannot."""
    mark: Callable[[], object] = lambda: None
    """Its answer changes when it is worth opening again."""


def openers(
    model: Model, plans: Path, *, threads: int | None = None, cache: Path | None = None
) -> list[Opener]:
    """Return the devices that can run a model, the fastest first; none is opened yet.

    Args:
        model: whose graph to run.
        plans: folder of the plan store; may be absent.
        threads: of the processor; all of them if None.
        cache: where the processor's compiled graphs are kept.
    """

    return [
        Opener("TensorRT", lambda: _open_active(model, plans), lambda: _stamp(plans / SERVING)),
        Opener("torch", lambda: _open_torch(model)),
        Opener("OpenVINO", lambda: open_device(model, threads=threads, cache=cache)),
    ]


class Fleet:
    """The devices that may serve, and the one that does.

    A job asks for the device once and keeps it to its end, so no result comes of two.
    """

    def __init__(self, devices: Sequence[Opener]) -> None:
        self._openers = list(devices)
        self._lock = Lock()
        self._serving: tuple[Opener, Device] | None = None
        self._marks: dict[str, object] = {}
        self._resting: dict[str, float] = {}
        self._choose_at: float | None = None

    def device(self) -> Device:
        """Return the device for the next job.

        Raises:
            DeviceFailed: none can serve; the message says why each cannot.
        """
        with self._lock:
            marks = {each.name: each.mark() for each in self._openers}
            due = self._choose_at is not None and monotonic() >= self._choose_at
            if self._serving is None or marks != self._marks or due:
                self._choose(marks)
            assert self._serving is not None
            return self._serving[1]

    def leave(self, device: Device, error: DeviceFailed) -> None:
        """Let the next device in order serve, for this one has failed.

        Raises:
            DeviceFailed: there is no other; the next job tries this one again.
        """
        with self._lock:
            if self._serving is None or self._serving[1] is not device:
                return
            failed = self._serving[0]
            self._serving = None
            self._rest(failed)
            if all(each.name in self._resting for each in self._openers):
                self._resting.clear()
                raise error
            logger.warning("%s: %s", device.name, error, extra={"action": "leave_device"})

    def _rest(self, opener: Opener) -> None:
        self._resting[opener.name] = monotonic() + REST_S
        self._choose_at = min(self._resting.values())

    def _choose(self, marks: dict[str, object]) -> None:
        before, self._serving = self._serving, None
        changed = {name for name, mark in marks.items() if mark != self._marks.get(name)}
        self._marks = marks
        self._resting = {
            name: until
            for name, until in self._resting.items()
            if until > monotonic() and name not in changed
        }
        self._choose_at = min(self._resting.values(), default=None)
        reasons = []
        for each in self._openers:
            if each.name in self._resting:
                reasons.append(f"{each.name}: it failed, and rests for ten minutes at most")
                continue
            if before is not None and before[0] is each:
                if each.name not in changed:
                    self._serving = before
                    return
                before = None  # if no job has it any more, the next one has its memory
            try:
                device = each.open()
            except EngineError as error:
                if error.transient:
                    self._rest(each)
                reasons.append(f"{each.name}: {error}")
                logger.info("not on %s", reasons[-1], extra={"action": "skip_device"})
            else:
                self._serving = each, device
                logger.info("on %s", device.name, extra={"action": "device"})
                return
        raise DeviceFailed(f"no device can run the model ({'; '.join(reasons)})")


def _open_active(model: Model, plans: Path) -> Device:
    """Open the active plan for the GPU here, if any plan is active at all."""
    store = PlanStore(plans)
    if not store.slots():
        raise UnknownPlan(f"no plan is active in {plans}: see `hepar engine --help`")
    from engine.devices.tensorrt.plan_device import (
        open_active,  # only who has plans pays for the import
    )

    return open_active(model, store)


def _open_torch(model: Model) -> Device:
    """Open what torch computes on, if the model is there for torch and torch is here."""
    if model.program is None:
        raise DeviceFailed(f"model {model.name} {model.version} has no {PROGRAM}")
    try:
        from engine.devices.torch_gpu import open_accelerator  # only who has the file pays for it
    except (ImportError, OSError) as error:  # not there, or a library of CUDA's is not
        raise LibraryMissing(f"no torch here ({error}): install it to use its devices") from error
    return open_accelerator(model)


def _stamp(path: Path) -> object:
    """Return what changes when a file is replaced."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
