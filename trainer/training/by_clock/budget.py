"""Time that a training may take, and the callback that ends a member in time."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as lightning
from lightning.pytorch.callbacks import Callback

Clock = Callable[[], float]


@dataclass(frozen=True)
class Budget:
    """Time from the start of the command to the end of its work."""

    seconds: float
    begun_s: float
    """Reading of the clock at the start."""
    clock: Clock = time.monotonic

    @property
    def minutes(self) -> float:
        """The whole of it."""
        return self.seconds / 60

    @property
    def spent_s(self) -> float:
        """Seconds since the start."""
        return self.clock() - self.begun_s

    @property
    def left_s(self) -> float:
        """Seconds until the end; below 0 after it."""
        return self.seconds - self.spent_s


class Deadline(Callback):
    """Ends a training after the first step that reaches a time, with a last look and its weights.

    The plan ends it before; this is for a machine that has become slower than it was measured.
    """

    def __init__(self, clock: Clock, at_s: float) -> None:
        self._clock = clock
        self.at_s = at_s

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Ask for the end once the time has come."""
        if self._clock() >= self.at_s:
            trainer.should_stop = True
