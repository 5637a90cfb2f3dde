"""What runs a model's graph. Each device is one module; its library is imported only there."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from engine.model import Model


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


def neighbours_of(device: Device) -> int:
    """Return how many slices to either side a device's answers depend on."""
    return device.neighbours if isinstance(device, SeesNeighbours) else 0


def open_device(model: Model, *, threads: int | None = None, cache: Path | None = None) -> Device:
    """Return the device that is always there: OpenVINO on the processor.

    It computes in half precision where the processor can and the model's reference allows.

    Raises:
        DeviceFailed: it cannot run the model, or strays from the reference in any precision.
    """
    from engine.devices.openvino import open_openvino  # only who opens it pays for the import
    from engine.reference import first_near

    def opened(half: bool) -> Callable[[], Device]:
        return lambda: open_openvino(model, threads=threads, cache=cache, half=half)

    return first_near(model, [opened(half=True), opened(half=False)])
