"""Contents of a folder as slices, series by series."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainer.datasets.cases.case import to_slices
from trainer.datasets.cases.slices import SIDE, Slices
from trainer.datasets.layouts.found import Found
from trainer.datasets.layouts.npz import read_packed
from trainer.datasets.layouts.read_all import find_cases
from trainer.errors import BadCase


@dataclass(frozen=True, eq=False)
class Part:
    """The slices of one series, or of one patient where a file does not name the series."""

    source: str
    name: str
    slices: Slices
    spacing_mm: tuple[float, float]
    """Between slices, between pixels as the source has them; nan where unknown."""
    whole: bool
    """They are a volume, and follow one another."""

    @property
    def patient(self) -> str:
        """The patient's name."""
        return str(self.slices.patient[0])


def read_parts(folder: Path, left_out: Callable[[Found, BadCase], None]) -> Iterator[Part]:
    """Yield everything that could be learnt from, and call `left_out` for what is broken."""
    for name, slices in read_packed(folder):
        yield from _patients(slices, name)
    for found in find_cases(folder):
        try:
            case = found.read()
            slices = to_slices([case], SIDE)
            unknown = float("nan")
            spacing = (unknown, unknown) if case.spacing_lost else case.volume.geometry.spacing[:2]
            yield Part(found.source, found.name, slices, spacing, whole=True)
        except BadCase as error:
            left_out(found, error)


def _patients(slices: Slices, source: str) -> Iterator[Part]:
    for patient in np.unique(slices.patient).tolist():
        own = slices.of([patient])
        # Packed slices are scattered: nothing is known of what lies between two of them.
        spacing = float("nan"), float(own.pixel_mm[0])
        yield Part(source.removesuffix(".npz"), patient, own, spacing, whole=False)
