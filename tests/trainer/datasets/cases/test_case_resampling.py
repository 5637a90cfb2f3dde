import numpy as np
import pytest

from engine.phantom import make_phantom
from engine.volume import Label
from trainer.datasets.cases.case import Case
from trainer.datasets.cases.case_resampling import resampled


@pytest.fixture(scope="module")
def case() -> Case:
    phantom = make_phantom(1, shape=(32, 80, 80), spacing_mm=(8.0, 4.5, 4.5))
    return Case("anna", "made", "1", phantom.volume, phantom.truth.labels)


def test_the_same_spacing_changes_nothing(case):
    again = resampled(case, case.volume.geometry.spacing)
    assert again.volume.geometry.matches(case.volume.geometry)
    assert np.array_equal(again.volume.hu, case.volume.hu)
    assert np.array_equal(again.target, case.target)


@pytest.mark.parametrize("spacing", [(4.0, 3.0, 3.0), (6.0, 6.0, 6.0), (12.0, 9.0, 9.0)])
def test_volumes_and_hounsfield_units_stay(case, spacing):
    other = resampled(case, spacing)
    assert other.volume.geometry.spacing == pytest.approx(spacing)
    before, after = case.truth, other.truth
    assert after.millilitres(Label.LIVER) == pytest.approx(
        before.millilitres(Label.LIVER), rel=0.05
    )
    liver = [each.volume.hu[each.target == Label.LIVER].mean() for each in (case, other)]
    assert liver[1] == pytest.approx(liver[0], abs=6)


def test_the_middle_of_the_liver_stays_in_its_place(case):
    places = []
    for each in (case, resampled(case, (5.0, 7.0, 6.0))):
        middle = np.argwhere(each.target > 0).mean(axis=0)
        places.append((each.volume.geometry.affine @ [*middle, 1])[:3])
    assert np.linalg.norm(places[1] - places[0]) < 1.0
