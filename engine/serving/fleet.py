"""Choice of the device that serves: the first usable one in order, reconsidered between jobs."""

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

RETRY_AFTER_S = 600.0
"""A device that failed is not tried again for this long, unless another plan becomes active."""


@dataclass(frozen=True)
class Opener:
    """A device that may serve, and how to open it."""

    name: str
    open: Callable[[], Device]
    """Raises an `EngineError` if the device cannot be used."""
    mark: Callable[[], object] = lambda: None
    """Its value changes when opening is worth another try."""


def openers(
    model: Model, plans: Path, *, threads: int | None = None, cache: Path | None = None
) -> list[Opener]:
    """Return the devices that may run a model, fastest first, none of them opened.

    Args:
        model: to run.
        plans: folder of the plan store; need not exist.
        threads: processor threads; all if None.
        cache: folder for the processor's compiled graphs.
    """

    return [
        Opener("TensorRT", lambda: _open_active(model, plans), lambda: _stamp(plans / SERVING)),
        Opener("torch", lambda: _open_torch(model)),
        Opener("OpenVINO", lambda: open_device(model, threads=threads, cache=cache)),
    ]


class Fleet:
    """The devices that may serve and the one that does.

    A job requests a device once and keeps it, so no result mixes two devices.
    """

    def __init__(self, devices: Sequence[Opener], purpose: str = "serving") -> None:
        """Take the devices, in order.

        Args:
            devices: that may serve.
            purpose: of what they compute, for the log.
        """
        self._purpose = purpose
        self._openers = list(devices)
        self._lock = Lock()
        self._serving: tuple[Opener, Device] | None = None
        self._marks: dict[str, object] = {}
        self._retry_at: dict[str, float] = {}
        self._failed: dict[str, str] = {}
        self._choose_at: float | None = None

    def device(self) -> Device:
        """Return the device for the next job.

        Raises:
            DeviceFailed: none can serve; the message lists the reason for each.
        """
        with self._lock:
            # Read before opening: a plan that is activated meanwhile changes them again.
            marks = {each.name: each.mark() for each in self._openers}
            due = self._choose_at is not None and monotonic() >= self._choose_at
            if self._serving is None or marks != self._marks or due:
                self._choose(marks)
            # For mypy: `_choose` sets it or raises.
            assert self._serving is not None
            return self._serving[1]

    def report_failure(self, device: Device, error: DeviceFailed) -> None:
        """Switch to the next device in order because this one failed.

        Raises:
            DeviceFailed: there is no other device; the next job tries this one again.
        """
        with self._lock:
            # Another job has reported it already, and the device that serves now is not to blame.
            if self._serving is None or self._serving[1] is not device:
                return
            failed = self._serving[0]
            self._serving = None
            self._failed[failed.name] = str(error)
            self._postpone(failed)
            # Nothing is left to switch to.
            if all(each.name in self._retry_at for each in self._openers):
                self._retry_at.clear()
                self._failed.clear()
                raise error
            logger.warning("%s: %s", device.name, error, extra={"action": "device_failed"})

    def release(self) -> None:
        """Let go of the device, whose memory is freed once no job holds it; the next opens it."""
        with self._lock:
            self._serving = None

    def _postpone(self, opener: Opener) -> None:
        self._retry_at[opener.name] = monotonic() + RETRY_AFTER_S
        self._choose_at = min(self._retry_at.values())

    def _choose(self, marks: dict[str, object]) -> None:
        # If nothing opens, the node must not go on with the old one, which may be stale.
        before, self._serving = self._serving, None
        changed = {name for name, mark in marks.items() if mark != self._marks.get(name)}
        self._marks = marks
        self._retry_at = {
            name: until
            for name, until in self._retry_at.items()
            if until > monotonic() and name not in changed
        }
        self._choose_at = min(self._retry_at.values(), default=None)
        reasons = []
        for each in self._openers:
            if each.name in self._retry_at:
                why = self._failed.get(each.name, "it could not be opened")
                reasons.append(f"{each.name}: it failed less than ten minutes ago ({why})")
                continue
            if before is not None and before[0] is each:
                if each.name not in changed:
                    self._serving = before
                    return
                before = None  # frees its memory for the next plan, if no job holds it
            try:
                device = _opened(each)
            except EngineError as error:
                # Others need no clock: a changed mark says when another try makes sense.
                if error.transient:
                    self._postpone(each)
                reasons.append(f"{each.name}: {error}")
                logger.info("skipped %s", reasons[-1], extra={"action": "skip_device"})
            else:
                self._serving = each, device
                self._failed.pop(each.name, None)
                logger.info("%s on %s", self._purpose, device.name, extra={"action": "device"})
                return
        self._forgive()
        raise DeviceFailed(f"no device can run the model ({'; '.join(reasons)})")

    def _forgive(self) -> None:
        """Let the next job try again what failed in a job.

        Where no other device can be opened, the node would refuse every job for ten minutes.
        """
        for name in self._failed:
            self._retry_at.pop(name, None)
        self._failed.clear()


def _opened(opener: Opener) -> Device:
    try:
        return opener.open()
    except EngineError:
        raise
    # Any: drivers and their libraries raise what they like, and another device can serve.
    except Exception as error:
        raise DeviceFailed(f"{type(error).__name__}: {error}") from error


def _open_active(model: Model, plans: Path) -> Device:
    """Open the active plan for the GPU of this machine."""
    store = PlanStore(plans)
    if not store.slots():
        raise UnknownPlan(f"no plan is active in {plans}; see `hepar engine rebuild --help`")
    from engine.devices.tensorrt.plan_device import (
        open_active,  # imported only where there are plans
    )

    return open_active(model, store)


def _open_torch(model: Model) -> Device:
    """Open torch's accelerator, if the model has a program for torch and torch is installed."""
    if model.program is None:
        raise DeviceFailed(f"model {model.name} {model.version} has no {PROGRAM}")
    try:
        from engine.devices.torch_gpu import open_accelerator  # imported only with a program
    except (ImportError, OSError) as error:  # OSError: one of its CUDA libraries is missing
        raise LibraryMissing(
            f"torch cannot be imported ({error}); install it to use its devices"
        ) from error
    return open_accelerator(model)


def _stamp(path: Path) -> object:
    """Return a value that changes when the file is replaced."""
    try:
        found = path.stat()
    except OSError:
        return None
    # The inode too: two replacements within one tick of the clock have the same time.
    return found.st_mtime_ns, found.st_ino, found.st_size
