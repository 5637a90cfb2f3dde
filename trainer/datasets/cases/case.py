"""A whole labelled volume, and the slices that are cut from it."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.volume import LabelMap, Volume
from trainer.datasets.cases.slice_resizing import fit_square
from trainer.datasets.cases.slices import SIDE, Slices, concatenate
from trainer.datasets.cases.target import NOT_EVERYWHERE, Target
from trainer.errors import BadCase, BadData


@dataclass(frozen=True, eq=False)
class Case:
    """One CT volume, and what is known of each of its voxels."""

    patient: str
    """One patient has one name in every source."""
    source: str
    """The data set it comes from."""
    series: str
    """Tells it from other volumes of the same patient."""
    volume: Volume
    target: NDArray[np.uint8]
    """(slices, rows, columns) on the volume's grid, values of `Target`."""
    spacing_lost: bool = False
    """The source lost the size of its voxels, and the geometry is not to be trusted."""
    weight: float = 1.0
    """How often its patient is drawn, beside patients of weight 1."""

    def __post_init__(self) -> None:
        if self.target.shape != self.volume.hu.shape:
            raise BadCase(
                f"{self.source} {self.series}: labels of {self.target.shape} on a volume of "
                f"{self.volume.hu.shape}; both must lie on one grid"
            )

    @property
    def tumours_drawn(self) -> bool:
        """Whether tumours were drawn, or looked for and not found, wherever there is liver."""
        # A case is drawn with tumours throughout or nowhere, so one such voxel tells it.
        return not np.any(self.target == Target.LIVER_OR_TUMOUR)

    @property
    def truth(self) -> LabelMap:
        """The target in the engine's labels: what may be tumour counts as liver."""
        labels = self.target.copy()
        labels[labels == Target.LIVER_OR_TUMOUR] = Target.LIVER
        labels[np.isin(labels, NOT_EVERYWHERE)] = Target.BACKGROUND
        return LabelMap(labels, self.volume.geometry)


def to_slices(cases: Iterable[Case], side: int = SIDE, *, step_mm: float = 0.0) -> Slices:
    """Cut every case into axial slices of `side` x `side` that keep its field of view.

    Args:
        cases: taken one by one, so that only their slices are held in memory.
        side: rows and columns of every slice.
        step_mm: least distance between two slices of a case; 0 takes every slice.

    Raises:
        BadData: there is no case.
    """
    parts = [_slices(case, side, step_mm) for case in cases]
    if not parts:
        raise BadData("no case to cut into slices; name a folder with labelled volumes")
    return concatenate(parts)


def _slices(case: Case, side: int, step_mm: float) -> Slices:
    thick_mm = case.volume.geometry.spacing[0]
    # Every slice where they lie further apart than asked for.
    chosen = slice(None, None, max(1, round(step_mm / thick_mm)))
    spacing = case.volume.geometry.spacing[1:]
    hu, target, pixel_mm = fit_square(case.volume.hu[chosen], case.target[chosen], spacing, side)
    count = len(hu)
    position = np.arange(len(case.volume.hu), dtype=np.float32)[chosen] * np.float32(thick_mm)
    return Slices(
        hu,
        target,
        np.full(count, case.patient),
        # nan, not the 1 mm that the header falls back to: who resamples must notice.
        np.full(count, np.nan if case.spacing_lost else pixel_mm, np.float32),
        np.full(count, case.series),
        np.full(count, np.nan, np.float32) if case.spacing_lost else position,
        np.full(count, case.weight, np.float32),
        np.full(count, np.nan if case.spacing_lost else thick_mm, np.float32),
    )
