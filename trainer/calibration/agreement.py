"""Bounds of the members' agreement below which a result is to be reviewed.

Members that contradict one another tell bad results without a truth (Roy et al. 2019, Bayesian
QuickNAT, NeuroImage 195; Jungo and Reyes 2019, arXiv:1907.03338). How much they agree on sound
results differs from model to model, so the bound is taken from patients: the quarter of them in
whom the members agree least lies below it.
"""

import math

from engine.findings.quality import least_agreement
from engine.manifest import AgreementCalibration, Calibration
from engine.volume import Label
from trainer.calibration.observations import Observations
from trainer.patient_counts import patients as counted

PART = 0.25
FEWEST = 12
"""Patients, so that three are below the bound and nine above."""
DECIMALS = 4
BOUNDS = ("liver_agreement", "tumour_agreement")
"""Names in the manifest."""


def calibrate_agreement(
    observed: Observations, label: Label, members: int
) -> AgreementCalibration | str:
    """Return the bound that patients support, or why they support none.

    Args:
        observed: what the model marks in patients that no member learnt from.
        label: the liver with its tumours, or tumours.
        members: networks of the model.
    """
    if members < 2:
        return "one network, which agrees with itself"
    found = sorted(agreements(observed, label).values())
    if len(found) < FEWEST:
        return f"agreement in {counted(len(found))}; a bound takes {FEWEST}"
    below = math.ceil(round(PART * len(found), 9))
    # Half way to the next one: patients like the last below and the first above are told apart.
    least = round((found[below - 1] + found[below]) / 2, DECIMALS)
    return AgreementCalibration(least=least, part=PART, patients=len(found))


def agreements(observed: Observations, label: Label) -> dict[str, float]:
    """Return the agreement of the members by patient, where the structure was drawn and marked."""
    areas = observed.liver if label == Label.LIVER else observed.tumour
    counts = {
        name: observed.agreement[name][label - 1] for name in areas if name in observed.agreement
    }
    return {
        name: float(every / any_)
        for name, (every, any_) in counts.items()
        if any_ and areas[name].drawn_mm2 and areas[name].marked_mm2
    }


def disputed(calibration: Calibration, observed: Observations, patient: str) -> bool:
    """Return whether a result would be marked for review by the members' agreement alone."""
    for label in (Label.LIVER, Label.TUMOUR):
        every, any_ = observed.agreement[patient][label - 1]
        marked = label == Label.LIVER or observed.marked_tumour(patient)
        if marked and any_ and every / any_ < least_agreement(calibration, label):
            return True
    return False
