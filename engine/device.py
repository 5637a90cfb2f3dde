"""The protocol of devices that run a model's graph, and what they answer."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from engine.volume import Label


@dataclass(frozen=True, eq=False)
class Answer:
    """What the ensemble says of some slices."""

    labels: NDArray[np.uint8]
    """(n, rows, columns), values of `Label`."""
    agreement: NDArray[np.float32]
    """(n, 2, 2); of each slice, for the liver with its tumours and for the tumours alone: the
    pixels of the working grid that every member marks, and those that any member marks."""


class Device(Protocol):
    """Anything that answers slices as the model's graph does."""

    name: str
    batch: int
    """Slices that one call had best carry; more or fewer are answered all the same."""

    def run(self, hu: NDArray[np.float16], spacing_mm: tuple[float, float]) -> Answer:
        """Return the ensemble's answer to (n, rows, columns) slices.

        Args:
            hu: Hounsfield units; rows run to the back, columns to the patient's left.
            spacing_mm: millimetres between rows, between columns.

        Raises:
            DeviceFailed: the device could not compute it.
        """
        ...


@runtime_checkable
class SaysMemory(Protocol):
    """A device with memory of its own."""

    @property
    def memory_mb(self) -> int | None:
        """The most of that memory that was in use so far; None where nobody can tell."""


@runtime_checkable
class SeesNeighbours(Protocol):
    """A device whose answer to a slice depends on those beside it in the same call."""

    neighbours: int
    """How many to either side."""


@runtime_checkable
class ExpectsLevel(Protocol):
    """A device whose model learnt from livers of one level."""

    liver_hu: float | None
    """That level; None where volumes are computed as they were scanned."""


def liver_hu_of(device: Device) -> float | None:
    """Return the level, in HU, that a device's model expects of livers."""
    return device.liver_hu if isinstance(device, ExpectsLevel) else None


def neighbours_of(device: Device) -> int:
    """Return how many slices to either side a device's answers depend on."""
    return device.neighbours if isinstance(device, SeesNeighbours) else 0


def pooled_agreement(counts: NDArray[np.float32]) -> dict[Label, float]:
    """Return, for each class, the part of what any member marks that every member marks.

    1 means one opinion, also where nobody marks anything; 0 that no pixel is marked by all.

    Args:
        counts: (slices, 2, 2) as `Answer` has them.
    """
    pooled = counts.sum(axis=0, dtype=np.float64)
    return {
        label: float(every / any_) if any_ else 1.0
        for label, (every, any_) in zip((Label.LIVER, Label.TUMOUR), pooled, strict=True)
    }
