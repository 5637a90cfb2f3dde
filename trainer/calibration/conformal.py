"""Intervals of volumes by split conformal prediction.

Of the relative errors in n patients that no member learnt from, the one of rank
ceil((n + 1) * coverage) is the half-width: a further patient like them lies within with at least
that probability, whatever the errors' distribution (Lei et al. 2018, arXiv:1604.04173).
"""

import math
from collections.abc import Mapping

from engine.manifest import VolumeCalibration, conformal_rank
from trainer.calibration.observations import Area
from trainer.patient_counts import patients as counted

COVERAGE = 0.9
DECIMALS = 4


def calibrate_volume(
    areas: Mapping[str, Area], coverage: float = COVERAGE
) -> VolumeCalibration | str:
    """Return the interval that patients support, or why they support none.

    Args:
        areas: by patient; those in whom nothing was marked have no volume to state.
        coverage: least probability that the true volume lies in the interval.
    """
    errors = sorted(relative_errors(areas).values())
    rank = conformal_rank(len(errors), coverage)
    if rank > len(errors):
        least = math.ceil(round(coverage / (1 - coverage), 9))
        return (
            f"volumes of {counted(len(errors))}; an interval with {100 * coverage:g} % coverage"
            f" takes {least}"
        )
    # Rounded up: a narrower interval would lose the patient who gives it its width.
    error = math.ceil(errors[rank - 1] * 10**DECIMALS) / 10**DECIMALS
    return VolumeCalibration(relative_error=error, coverage=coverage, patients=len(errors))


def relative_errors(areas: Mapping[str, Area]) -> Mapping[str, float]:
    """Return how far the drawn area lies from the marked one, as a fraction of the marked one."""
    return {
        name: abs(area.drawn_mm2 - area.marked_mm2) / area.marked_mm2
        for name, area in areas.items()
        if area.marked_mm2
    }
