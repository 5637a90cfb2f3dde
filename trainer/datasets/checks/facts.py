"""Facts about one series, collected before training."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.datasets.cases.slices import Slices
from trainer.datasets.cases.target import Target
from trainer.datasets.checks.fingerprint import Signature, signature_of
from trainer.datasets.checks.parts import Part
from trainer.datasets.checks.plausibility import doubts_about


@dataclass(frozen=True, eq=False)
class Facts:
    """Counts, sizes and doubts of one series."""

    source: str
    name: str
    patient: str
    slices: int
    liver_slices: int
    tumour_slices: int
    spacing_mm: tuple[float, float]
    """Between slices, between pixels; nan where unknown."""
    hu: tuple[int, int]
    """The lowest and the highest value."""
    liver_ml: float
    """With its tumours; nan where the spacing is unknown."""
    tumour_ml: float
    """nan where tumours were not drawn, too."""
    doubts: Sequence[str]
    """Why a person should look at it; empty where there is nothing unusual."""
    signature: Signature
    """By which the same slices are found again under another name."""
    shown: Slices
    """A few representative slices."""


def facts_of(part: Part, shown: int = 3) -> Facts:
    """Return the facts of a series, with `shown` representative slices."""
    slices = part.slices
    liver_ml, tumour_ml = (
        float(pixels.sum() * _voxel_ml(part))
        for pixels in (slices.liver_pixels, slices.tumour_pixels)
    )
    # A target of its own: there the tumours were drawn as liver, and their volume is unknown, not
    # 0.
    drawn = not np.any(slices.target == Target.LIVER_OR_TUMOUR)
    if np.any(slices.target == Target.NO_TUMOUR):  # tumours alone were drawn
        liver_ml = float("nan")
    return Facts(
        source=part.source,
        name=part.name,
        patient=part.patient,
        slices=len(slices),
        liver_slices=int(np.count_nonzero(slices.liver_pixels)),
        tumour_slices=int(np.count_nonzero(slices.tumour_pixels)),
        spacing_mm=part.spacing_mm,
        hu=(int(slices.hu.min()), int(slices.hu.max())),
        liver_ml=liver_ml,
        tumour_ml=tumour_ml if drawn else float("nan"),
        doubts=doubts_about(slices, liver_ml, whole=part.whole),
        signature=signature_of(slices),
        shown=slices[_telling(slices, shown)],
    )


def _voxel_ml(part: Part) -> float:
    """Volume of one pixel of a slice; nan where slices are not contiguous."""
    return part.spacing_mm[0] * float(part.slices.pixel_mm[0]) ** 2 / 1000


def _telling(slices: Slices, count: int) -> NDArray[np.intp]:
    """Return the slice with the most tumour, or the most liver, and others spread over it."""
    with_liver = np.flatnonzero(slices.liver_pixels)
    if not len(with_liver):
        with_liver = np.arange(len(slices))
    weight = slices.tumour_pixels if slices.tumour_pixels.any() else slices.liver_pixels
    # Without both ends, where a liver is a few pixels.
    spread = with_liver[np.linspace(0, len(with_liver) - 1, count + 2).astype(int)[1:-1]]
    # In order, and once: the slice with the most may be among the others.
    return np.unique([int(weight.argmax()), *spread[: count - 1].tolist()])
