"""The section `calibration` of a manifest, and how well it holds."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.manifest import (
    AgreementCalibration,
    Calibration,
    LesionCalibration,
    VolumeCalibration,
)
from engine.volume import Label
from trainer.calibration.agreement import calibrate_agreement
from trainer.calibration.conformal import calibrate_volume
from trainer.calibration.lesion_fit import cross_fitted, fit_lesions
from trainer.calibration.observations import Mark, Observations
from trainer.calibration.reliability import Judged, calibration_error

SECTION = "calibration"
"""Name of it in the manifest, also of its figures and of the reasons for what is left out."""


@dataclass(frozen=True)
class Calibrated:
    """What the patients at hand support."""

    calibration: Calibration | None
    """None: nothing."""
    left_out: Mapping[str, str]
    """What they do not support, each with the reason; by name in the manifest."""
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    """Figures of the fit, to be added to the manifest's."""
    judged: Judged | None = None
    """Each mark by the fit without its patient; None without probabilities."""


def calibrate(observed: Observations, members: int, unseen: Collection[str]) -> Calibrated:
    """Calibrate a model by patients that no member learnt from.

    Args:
        observed: what the model marks in patients.
        members: networks of the model.
        unseen: the patients that no member learnt from; others are passed over.
    """
    marks = [mark for mark in observed.marks if mark.patient in unseen]
    liver, tumour = (
        {name: area for name, area in areas.items() if name in unseen}
        for areas in (observed.liver, observed.tumour)
    )
    seen = Observations((), liver, tumour, observed.agreement)
    found: dict[str, LesionCalibration | VolumeCalibration | AgreementCalibration | str] = {
        "lesions": fit_lesions(marks, members),
        "liver_volume": calibrate_volume(liver),
        "tumour_volume": calibrate_volume(tumour),
        "liver_agreement": calibrate_agreement(seen, Label.LIVER, members),
        "tumour_agreement": calibrate_agreement(seen, Label.TUMOUR, members),
    }
    left_out = {f"{SECTION}.{name}": each for name, each in found.items() if isinstance(each, str)}
    calibration = Calibration.model_validate(
        {name: each for name, each in found.items() if not isinstance(each, str)}
    )
    if calibration.lesions is None:
        stated = calibration if calibration != Calibration() else None
        return Calibrated(stated, left_out)
    judged = beside(marks, cross_fitted(marks, calibration.lesions))
    return Calibrated(calibration, left_out, _figures(judged), judged)


def beside(marks: Sequence[Mark], stated: NDArray[np.float64]) -> Judged:
    """Return the marks of which something is stated, beside what they are."""
    known = ~np.isnan(stated)
    names = np.array([mark.patient for mark in marks], np.str_)
    true = np.array([mark.is_tumour for mark in marks], np.bool_)
    return Judged(names[known], stated[known], true[known])


def _figures(judged: Judged) -> Mapping[str, Any]:
    error = calibration_error(judged)
    figures = {
        "ece": round(error.value, 4),
        "ece_low": round(error.low, 4),
        "ece_high": round(error.high, 4),
        "ece_by_chance": round(error.by_chance, 4),
    }
    return {SECTION: figures}
