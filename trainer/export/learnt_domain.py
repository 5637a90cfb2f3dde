"""What the scans were like that a model learnt from: the section `domain` of its manifest."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from engine.findings.domain import DECIMALS
from engine.findings.scan_features import Plane, measure_features
from engine.manifest import Domain, Feature, Range
from trainer.datasets.cases.slices import Slices
from trainer.datasets.cases.target import INSIDE, NOT_EVERYWHERE
from trainer.patient_counts import patients as counted

MIDDLE = 0.95
"""Part of the patients that each range holds, as reference intervals in medicine do."""
HIGH_ONLY = (Feature.NOISE, Feature.CUT)
"""Features of which less is no risk: training slices carry the noise of their JPEG files, too."""
FEWEST = 20
"""Patients; of fewer, the ends of the middle 95 % are those of one patient each."""


def learnt_domain(
    slices: Slices, patients: Sequence[str], hu_bounds: tuple[float, float]
) -> Domain | str:
    """Return what the scans of patients are like, or why that cannot be stated.

    Args:
        slices: of these patients and of others.
        patients: who were learnt from.
        hu_bounds: Hounsfield units that the members see.
    """
    found = [each for patient in patients if (each := _features(slices, patient, hu_bounds))]
    if len(found) < FEWEST:
        return f"{counted(len(found))} with a drawn liver; ranges take {FEWEST}"
    return Domain(patients=len(found), hu_bounds=hu_bounds, ranges=dict(_ranges(found)))


def _features(
    slices: Slices, patient: str, hu_bounds: tuple[float, float]
) -> Mapping[Feature, float]:
    own = slices.of([patient])
    # Where something was not looked at, the size of the liver is not known.
    own = own[np.flatnonzero(~np.isin(own.target, NOT_EVERYWHERE).any(axis=(1, 2)))]
    planes = (
        Plane(hu, np.isin(target, INSIDE), (float(mm), float(mm)))
        for hu, target, mm in zip(own.hu, own.target, own.pixel_mm, strict=True)
    )
    known = own.slice_mm[~np.isnan(own.slice_mm)]
    slice_mm = float(np.median(known)) if len(known) else float("nan")
    return measure_features(planes, hu_bounds, slice_mm)


def _ranges(found: Sequence[Mapping[Feature, float]]) -> Iterator[tuple[Feature, Range]]:
    for feature in Feature:
        values = [each[feature] for each in found if feature in each]
        if len(values) >= FEWEST:
            low, high = np.quantile(values, [(1 - MIDDLE) / 2, (1 + MIDDLE) / 2])
            least = 0.0 if feature in HIGH_ONLY else round(float(low), DECIMALS)
            yield feature, Range(low=least, high=round(float(high), DECIMALS))
