"""The protocol of devices that run a model's graph, and their answer."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from engine.hounsfield import Hounsfield
from engine.volume import Label


@dataclass(frozen=True, eq=False)
class Answer:
    """The ensemble's output for a batch of slices."""

    labels: NDArray[np.uint8]
    """(n, rows, columns), values of `Label`."""
    agreement: NDArray[np.float32]
    """(n, 2, 2), pixels of the working grid.

    The second axis is the class: liver including tumours, tumours alone. The last axis counts
    pixels that every member marks, and pixels that any member marks."""


class Device(Protocol):
    """Anything that computes the model's graph."""

    name: str
    batch: int
    """Preferred number of slices per call; any number works."""

    def run(self, hu: Hounsfield, spacing_mm: tuple[float, float]) -> Answer:
        """Return the ensemble's answer to (n, rows, columns) slices.

        Args:
            hu: Hounsfield units; rows run to the back, columns to the patient's left. int16 may
                have any value: the device clips it to `HU_BOUNDS` and converts it.
            spacing_mm: millimetres between rows, between columns.

        Raises:
            DeviceFailed: the computation failed.
        """
        ...


@runtime_checkable
class ReportsMemory(Protocol):
    """A device with memory of its own."""

    @property
    def memory_mb(self) -> int | None:
        """Peak of that memory in use so far; None where the library cannot report it."""


@runtime_checkable
class NeedsNeighbours(Protocol):
    """A device whose answer to a slice depends on adjacent slices of the same call."""

    neighbours: int
    """Number of adjacent slices on each side."""


@runtime_checkable
class ExpectsLevel(Protocol):
    """A device whose model learnt from livers of one level."""

    liver_hu: float | None
    """That level; None where volumes are computed as they were scanned."""


def liver_hu_of(device: Device) -> float | None:
    """Return the level, in HU, that a device's model expects of livers."""
    return device.liver_hu if isinstance(device, ExpectsLevel) else None


def neighbours_of(device: Device) -> int:
    """Return the number of slices on each side that a device's answers depend on."""
    return device.neighbours if isinstance(device, NeedsNeighbours) else 0


def pooled_agreement(counts: NDArray[np.float32]) -> dict[Label, float]:
    """Return the agreement of the members for each class.

    This is the intersection of their marks over the union, pooled over slices: 1 for identical
    marks (or none at all), 0 for no common pixel.

    Args:
        counts: (slices, 2, 2), as in `Answer.agreement`.
    """
    # Sums of float32 are exact up to 2**24 only, which 256 slices of 256x256 pixels reach.
    pooled = counts.sum(axis=0, dtype=np.float64)
    return {
        label: float(every / any_) if any_ else 1.0
        for label, (every, any_) in zip((Label.LIVER, Label.TUMOUR), pooled, strict=True)
    }
