"""Several jobs on one device: each takes turns of one batch, urgent jobs before all others."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic

import numpy as np
from numpy.typing import NDArray

from engine.device import Answer, Device, liver_hu_of, neighbours_of

BETWEEN_S = 0.1
"""An urgent job that had a turn this short a time ago has more to come: others wait for it."""


@dataclass
class DeviceQueue:
    """Who is next on the devices of a node. Jobs of one kind take turns in the order they ask."""

    _news: threading.Condition = field(default_factory=threading.Condition)
    _waiting: dict[bool, deque[object]] = field(
        default_factory=lambda: {True: deque(), False: deque()}
    )
    _busy: bool = False
    _urgent_until: float = 0.0

    def on(self, device: Device, *, urgent: bool) -> "QueuedDevice":
        """Return the device as one job may use it."""
        return QueuedDevice(device, self, urgent)

    @contextmanager
    def turn(self, *, urgent: bool) -> Iterator[None]:
        """Have the device to oneself while the block lasts."""
        me = object()
        with self._news:
            self._waiting[urgent].append(me)
            while (wait_s := self._wait_s(me, urgent)) is not None:
                self._news.wait(wait_s)
            self._waiting[urgent].popleft()
            self._busy = True
        try:
            yield
        finally:
            with self._news:
                self._busy = False
                if urgent:
                    self._urgent_until = monotonic() + BETWEEN_S
                self._news.notify_all()

    def _wait_s(self, me: object, urgent: bool) -> float | None:
        """Return for how long at most there is nothing to look for; None: it is my turn."""
        if self._busy or self._waiting[urgent][0] is not me or (not urgent and self._waiting[True]):
            return 60.0
        left = 0.0 if urgent else self._urgent_until - monotonic()
        return left if left > 0 else None


class QueuedDevice:
    """A device that waits for its turn with every batch."""

    def __init__(self, device: Device, turns: DeviceQueue, urgent: bool) -> None:
        self.name, self.batch = device.name, device.batch
        self.neighbours, self.liver_hu = neighbours_of(device), liver_hu_of(device)
        self._device, self._turns, self._urgent = device, turns, urgent

    def run(self, hu: NDArray[np.float16], spacing_mm: tuple[float, float]) -> Answer:
        """Return what the device answers, once it is this job's turn."""
        with self._turns.turn(urgent=self._urgent):
            return self._device.run(hu, spacing_mm)
