"""Overlap of labels with expert outlines, per patient and pooled."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.findings.overlap import NOTHING, Overlap, overlap
from engine.volume import Label
from trainer.datasets.cases.target import INSIDE, Target


@dataclass(frozen=True)
class Figures:
    """One prediction's overlap with the experts, per patient."""

    liver: Mapping[str, Overlap]
    """The liver with its tumours, as LiTS counts it."""
    tumour: Mapping[str, Overlap]
    """Patients whose tumours were drawn, or looked for and not found."""

    @property
    def pooled_liver(self) -> float:
        """Dice over all pixels of all patients."""
        return sum(self.liver.values(), NOTHING).dice

    @property
    def pooled_tumour(self) -> float:
        """Likewise of the tumours."""
        return sum(self.tumour.values(), NOTHING).dice

    @property
    def tumour_patients(self) -> int:
        """Number of patients with outlined tumours."""
        return sum(overlap.true > 0 for overlap in self.tumour.values())


class Tally:
    """Counts overlaps slice by slice."""

    def __init__(self) -> None:
        self.liver: dict[str, Overlap] = {}
        self.tumour: dict[str, Overlap] = {}

    def add(self, patient: str, found: NDArray[np.uint8], target: NDArray[np.uint8]) -> None:
        """Count slices of one patient; where tumours were not drawn, the liver alone."""
        inside = np.isin(target, INSIDE)
        counted = overlap(found > 0, inside)
        self.liver[patient] = self.liver.get(patient, NOTHING) + counted
        # By slice: packed slices of one patient may come from a set with tumours and one without.
        drawn = ~np.any(target == Target.LIVER_OR_TUMOUR, axis=(1, 2))
        if drawn.any():
            counted = overlap(found[drawn] == Label.TUMOUR, target[drawn] == Target.TUMOUR)
            self.tumour[patient] = self.tumour.get(patient, NOTHING) + counted

    def figures(self) -> Figures:
        """Return what was counted so far."""
        return Figures(self.liver, self.tumour)
