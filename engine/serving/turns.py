"""Sharing of a device between jobs: one batch per turn, urgent jobs first."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic

from engine.device import Answer, Device, liver_hu_of, neighbours_of
from engine.hounsfield import Hounsfield

BETWEEN_S = 0.1
"""After a turn, whoever is less urgent waits this long for the next batch of the same job."""
LOOK_S = 0.2
"""Pause between two looks of work in the background at whether it is abandoned."""


class TurnAbandoned(Exception):
    """Work in the background is abandoned while it waits for its turn."""


@dataclass
class DeviceQueue:
    """Queue for the devices of a node. Jobs of equal urgency take turns in order of arrival."""

    _changed: threading.Condition = field(default_factory=threading.Condition)
    _waiting: dict[bool, deque[object]] = field(
        default_factory=lambda: {True: deque(), False: deque()}
    )
    _busy: bool = False
    _urgent_until: float = 0.0
    _idle_from: float = 0.0
    _reserved: int = 0

    def on(self, device: Device, *, urgent: bool) -> "QueuedDevice":
        """Wrap a device for one job."""
        return QueuedDevice(device, self, urgent)

    def behind(self, device: Device, abandoned: Callable[[], bool]) -> "BackgroundDevice":
        """Wrap a device for work that waits whenever a job has use for the device."""
        return BackgroundDevice(device, self, abandoned)

    @contextmanager
    def reserved(self) -> Iterator[None]:
        """Keep work in the background waiting while the block lasts, also between batches."""
        with self._changed:
            self._reserved += 1
        try:
            yield
        finally:
            with self._changed:
                self._reserved -= 1
                self._changed.notify_all()

    @contextmanager
    def idle_turn(self, abandoned: Callable[[], bool]) -> Iterator[None]:
        """Hold the device exclusively inside the block, once no job has use for it.

        Raises:
            TurnAbandoned: `abandoned` returned True.
        """
        with self._changed:
            while self._used:
                if abandoned():
                    raise TurnAbandoned
                self._changed.wait(LOOK_S)
            if abandoned():
                raise TurnAbandoned
            self._busy = True
        try:
            yield
        finally:
            with self._changed:
                self._busy = False
                self._changed.notify_all()

    @property
    def _used(self) -> bool:
        """Whether a job uses the device, waits for it, or will soon."""
        waiting = any(self._waiting.values())
        return bool(self._busy or self._reserved or waiting or monotonic() < self._idle_from)

    @contextmanager
    def turn(self, *, urgent: bool) -> Iterator[None]:
        """Hold the device exclusively inside the block."""
        ticket = object()
        with self._changed:
            self._waiting[urgent].append(ticket)
            while (wait_s := self._wait_s(ticket, urgent)) is not None:
                self._changed.wait(wait_s)
            # It is this caller's own ticket: `_wait_s` lets only the first of its queue through.
            self._waiting[urgent].popleft()
            self._busy = True
        try:
            yield
        finally:
            with self._changed:
                self._busy = False
                self._idle_from = monotonic() + BETWEEN_S
                if urgent:
                    self._urgent_until = monotonic() + BETWEEN_S
                # All: which of them is next depends on urgency, and the others wait again.
                self._changed.notify_all()

    def _wait_s(self, ticket: object, urgent: bool) -> float | None:
        """Return how long to wait before checking again; None if it is this caller's turn."""
        if (
            self._busy
            or self._waiting[urgent][0] is not ticket
            or (not urgent and self._waiting[True])
        ):
            return 60.0  # a safeguard only: every end of a turn notifies
        left = 0.0 if urgent else self._urgent_until - monotonic()
        return left if left > 0 else None


class QueuedDevice:
    """A device that waits for its turn before every batch."""

    def __init__(self, device: Device, turns: DeviceQueue, urgent: bool) -> None:
        self.name, self.batch = device.name, device.batch
        self.neighbours, self.liver_hu = neighbours_of(device), liver_hu_of(device)
        self._device, self._turns, self._urgent = device, turns, urgent

    def run(self, hu: Hounsfield, spacing_mm: tuple[float, float]) -> Answer:
        """Wait for this job's turn, then run the device."""
        with self._turns.turn(urgent=self._urgent):
            return self._device.run(hu, spacing_mm)


class BackgroundDevice:
    """A device that waits before every batch until no job has use for it."""

    def __init__(self, device: Device, turns: DeviceQueue, abandoned: Callable[[], bool]) -> None:
        self.name, self.batch = device.name, device.batch
        self.neighbours, self.liver_hu = neighbours_of(device), liver_hu_of(device)
        self._device, self._turns, self._abandoned = device, turns, abandoned

    def run(self, hu: Hounsfield, spacing_mm: tuple[float, float]) -> Answer:
        """Wait for a turn, then run the device.

        Raises:
            TurnAbandoned: the work was abandoned meanwhile.
        """
        with self._turns.idle_turn(self._abandoned):
            return self._device.run(hu, spacing_mm)
