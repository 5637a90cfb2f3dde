"""Which slices a batch is made of."""

import numpy as np
import pytest

from trainer.batches.sampling import Sampler
from trainer.datasets.cases.slices import Slices
from trainer.datasets.cases.target import Target
from trainer.recipe.recipe import Batch


def livers(patients: dict[str, float], slices: int = 3) -> Slices:
    """Slices that show liver; patients and their weights."""
    names = np.repeat(list(patients), slices)
    shape = len(names), 16, 16
    return Slices(
        np.zeros(shape, np.int16),
        np.full(shape, Target.LIVER, np.uint8),
        names,
        np.ones(len(names), np.float32),
        weight=np.repeat(np.float32(list(patients.values())), slices),
    )


def shares(slices: Slices, draws: int = 4000) -> dict[str, float]:
    """The share of each patient in what is drawn."""
    drawn = Sampler(slices, Batch(tumour=0, other=draws)).draw(np.random.default_rng(0))
    names, counts = np.unique(slices.patient[drawn], return_counts=True)
    return dict(zip(names.tolist(), counts / draws, strict=True))


def test_a_patient_is_drawn_by_the_weight_of_his_source():
    assert shares(livers({"a": 3, "b": 1})) == {
        "a": pytest.approx(0.75, abs=0.03),
        "b": pytest.approx(0.25, abs=0.03),
    }


def test_patients_of_one_weight_are_drawn_equally_often():
    expected = pytest.approx(1 / 3, abs=0.03)
    assert shares(livers(dict.fromkeys("abc", 5.0))) == dict.fromkeys("abc", expected)
