"""Labelled axial slices in Hounsfield units, whatever file they come from."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

from trainer.datasets.cases.target import Target
from trainer.errors import BadData

SIDE = 256
"""Rows and columns of a slice where nothing else is asked for."""


@dataclass(frozen=True, eq=False)
class Slices:
    """Axial slices, rows running to the back and columns to the patient's left."""

    hu: NDArray[np.int16]
    """(n, side, side), Hounsfield units; what lies outside the source's window is clipped."""
    target: NDArray[np.uint8]
    """(n, side, side), values of `Target`."""
    patient: NDArray[np.str_]
    """(n,) whose slice it is; one patient has one name in every source."""
    pixel_mm: NDArray[np.float32]
    """(n,) millimetres between pixels; nan where the source lost it."""
    series: NDArray[np.str_] = field(default_factory=lambda: np.array([], np.str_))
    """(n,) the series it was cut from; by default the patient's name."""
    position_mm: NDArray[np.float32] = field(default_factory=lambda: np.array([], np.float32))
    """(n,) where it lies in its series, towards the head; nan where unknown."""
    weight: NDArray[np.float32] = field(default_factory=lambda: np.array([], np.float32))
    """(n,) how often its patient is drawn, beside patients of weight 1; by default 1."""
    slice_mm: NDArray[np.float32] = field(default_factory=lambda: np.array([], np.float32))
    """(n,) distance between the slices of its series as scanned; nan where unknown."""

    def __post_init__(self) -> None:
        count = len(self.patient)
        if not len(self.series):
            # The one way to fill a field of a frozen dataclass, and only before anybody holds it.
            object.__setattr__(self, "series", self.patient)
        if not len(self.position_mm):
            object.__setattr__(self, "position_mm", np.full(count, np.nan, np.float32))
        if not len(self.weight):
            object.__setattr__(self, "weight", np.ones(count, np.float32))
        if not len(self.slice_mm):
            object.__setattr__(self, "slice_mm", np.full(count, np.nan, np.float32))
        square = (count, self.side, self.side)
        for array in (self.hu, self.target):
            if array.shape != square:
                raise BadData(f"{count} square slices of one side expected, got {array.shape}")
        for name in ("pixel_mm", "series", "position_mm", "weight", "slice_mm"):
            if (shape := getattr(self, name).shape) != (count,):
                raise BadData(f"{count} values expected in {name}, got {shape}")

    def __len__(self) -> int:
        return len(self.patient)

    def __getitem__(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> "Slices":
        return Slices(*(getattr(self, each.name)[chosen] for each in fields(self)))

    @property
    def side(self) -> int:
        """Rows and columns of every slice."""
        return int(self.hu.shape[-1])

    def of(self, patients: Iterable[str]) -> "Slices":
        """Return the slices of the named patients."""
        return self[np.isin(self.patient, list(patients))]

    @property
    def tumour_pixels(self) -> NDArray[np.int64]:
        """(n,) how many pixels of each slice are drawn as tumour."""
        return self._count(Target.TUMOUR)

    @property
    def liver_pixels(self) -> NDArray[np.int64]:
        """(n,) how many pixels of each slice lie in the liver, its tumours included."""
        return self._count(Target.LIVER, Target.TUMOUR, Target.LIVER_OR_TUMOUR)

    def _count(self, *targets: Target) -> NDArray[np.int64]:
        counts = [np.count_nonzero(self.target == each, axis=(1, 2)) for each in targets]
        return np.asarray(sum(counts), np.int64)


def concatenate(parts: Sequence[Slices]) -> Slices:
    """Return all slices of `parts`, in order."""
    return Slices(
        *(np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(Slices))
    )
