import numpy as np
import pytest

from engine.manifest import Calibration
from engine.volume import Label
from trainer.calibration.agreement import calibrate_agreement, disputed
from trainer.calibration.observations import AnsweredSlice, Area, Observations, collect

LIVER = [0.95, 0.5, 0.9, 0.96, 0.97, 0.98, 0.93, 0.8, 0.99, 0.94, 0.92, 0.91]


def observed(liver=LIVER) -> Observations:
    """Patients on whose liver the members agree so far, and half as far on tumours."""
    areas = {f"p{index}": Area(100, 100, 90) for index in range(len(liver))}
    counts = {
        f"p{index}": np.array([[1000 * part, 1000], [50 * part, 100]])
        for index, part in enumerate(liver)
    }
    return Observations((), areas, dict(list(areas.items())[:4]), counts)


def test_a_quarter_of_the_patients_lies_below_the_bound():
    bound = calibrate_agreement(observed(), Label.LIVER, members=3)
    assert (bound.least, bound.part, bound.patients) == (pytest.approx(0.905), 0.25, 12)
    assert sum(part < bound.least for part in LIVER) == 3


def test_too_few_patients_or_one_network_give_no_bound():
    assert calibrate_agreement(observed(), Label.TUMOUR, members=3) == (
        "agreement in 4 patients; a bound takes 12"
    )
    assert "one network" in calibrate_agreement(observed(), Label.LIVER, members=1)


def test_what_was_not_drawn_or_not_marked_has_no_agreement():
    seen = observed([*LIVER, 0.1, 0.1])
    areas = {**seen.liver, "p12": Area(0, 100), "p13": Area(100, 0)}
    seen = Observations((), areas, {}, seen.agreement)
    assert calibrate_agreement(seen, Label.LIVER, members=3).patients == 12


def test_a_result_is_disputed_by_its_liver_or_by_tumours_that_are_marked():
    bounds = Calibration(liver_agreement=calibrate_agreement(observed(), Label.LIVER, 3))
    seen = observed()
    assert disputed(bounds, seen, "p1")
    assert not disputed(bounds, seen, "p0")
    little = {**seen.agreement, "p0": np.array([[950, 1000], [1, 100]])}
    assert disputed(bounds, Observations((), seen.liver, seen.tumour, little), "p0")
    unmarked = {**seen.tumour, "p0": Area(0, 100)}
    assert not disputed(bounds, Observations((), seen.liver, unmarked, little), "p0")


def test_the_agreement_of_a_patient_is_that_of_all_his_slices():
    labels = np.ones((8, 8), np.uint8)
    slices = [
        AnsweredSlice(
            name, np.zeros((8, 8), np.int16), labels, labels, np.array(counts, np.float32), 1.0
        )
        for name, counts in (
            ("one", [[1, 2], [0, 0]]),
            ("one", [[3, 4], [0, 5]]),
            ("other", [[7, 7], [1, 1]]),
        )
    ]
    found = collect(slices)
    assert found.agreement["one"].tolist() == [[4, 6], [0, 5]]
    assert found.liver["one"].dice == 1
