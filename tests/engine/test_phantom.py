import numpy as np
import pytest

from engine.phantom import Phantom, make_phantom
from engine.volume import Label

SMALL = {"shape": (24, 64, 64), "spacing_mm": (9.0, 6.0, 6.0)}


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return make_phantom(0, **SMALL)


def test_the_same_seed_draws_the_same_phantom(phantom):
    again = make_phantom(0, **SMALL)
    np.testing.assert_array_equal(again.volume.hu, phantom.volume.hu)
    np.testing.assert_array_equal(again.truth.labels, phantom.truth.labels)


def test_another_seed_draws_another_patient(phantom):
    other = make_phantom(1, **SMALL)
    assert np.mean(other.truth.labels != phantom.truth.labels) > 0.001
    assert not other.volume.geometry.matches(phantom.volume.geometry)


@pytest.mark.parametrize("seed", range(4))
def test_liver_and_tumours_have_a_patients_size(seed):
    truth = make_phantom(seed, **SMALL).truth
    assert 900 < truth.millilitres(Label.LIVER) < 3500
    assert 0 < truth.millilitres(Label.TUMOUR) < 250


def test_spacing_changes_the_grid_and_not_the_patient():
    fine = make_phantom(3, shape=(48, 64, 64), spacing_mm=(4.5, 6.0, 6.0), tumours=0)
    coarse = make_phantom(3, shape=(24, 64, 64), spacing_mm=(9.0, 6.0, 6.0), tumours=0)
    assert fine.truth.millilitres(Label.LIVER) == pytest.approx(
        coarse.truth.millilitres(Label.LIVER), rel=0.03
    )


def test_liver_lies_on_the_patients_right(phantom):
    slices, rows, columns = np.nonzero(phantom.truth.labels)
    assert phantom.volume.geometry.affine[0, 2] > 0  # columns run to the patient's left
    assert columns.mean() < phantom.truth.labels.shape[2] / 2
    assert phantom.volume.hu[slices, rows, columns].mean() == pytest.approx(95, abs=25)


def test_no_tumours_where_none_are_asked_for():
    assert Label.TUMOUR not in make_phantom(0, tumours=0, **SMALL).truth.labels
