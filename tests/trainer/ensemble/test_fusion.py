from types import SimpleNamespace

import numpy as np
import pytest
import torch

from engine.findings.overlap import Overlap
from tests.benchmarks.fusion import seven_loops
from trainer.ensemble.fusion import FUSIONS, blumberg, fuse, rivals, weighted
from trainer.evaluation.metrics.overlap import Figures
from trainer.recipe.sections import FusionSettings
from trainer.training.fusion_choice import choose_fusion

LIVER_EXPONENT, TUMOUR_EXPONENT = FusionSettings().liver_exponent, FusionSettings().tumour_exponent


def blumberg_one_pixel(probability: list[float], exponent: float) -> bool:
    """The published rule for one pixel, member by member and class by class."""
    scores = []
    for foreground in (False, True):
        rank_sum, chosen_confidence = 0.0, 0.0
        for p in probability:
            confidence = p if foreground else 1 - p
            if (p > 0.5) == foreground:
                powered = confidence**exponent
                rank_sum += 1 - powered / (0.5 + powered)
                chosen_confidence += confidence
            else:
                rank_sum += 1
        scores.append(rank_sum * (1 - chosen_confidence / len(probability)))
    return scores[1] < scores[0]


@pytest.mark.parametrize("exponent", [LIVER_EXPONENT, TUMOUR_EXPONENT])
def test_the_element_wise_formula_is_the_published_rule(exponent):
    probability = np.random.default_rng(0).random((3, 400))
    expected = [blumberg_one_pixel(list(column), exponent) for column in probability.T]
    fused = blumberg(torch.from_numpy(probability), exponent)
    assert fused.tolist() == expected
    assert 0 < sum(expected) < 400


@pytest.mark.parametrize("exponent", [LIVER_EXPONENT, TUMOUR_EXPONENT])
def test_a_tie_is_background(exponent):
    assert not blumberg(torch.tensor([[0.7], [0.3]]), exponent)


@pytest.mark.parametrize("name", FUSIONS)
@pytest.mark.parametrize("exponent", [LIVER_EXPONENT, TUMOUR_EXPONENT])
def test_members_of_one_mind_are_followed(name, exponent):
    sure = torch.tensor([[0.99, 0.01, 1.0, 0.0], [0.9, 0.2, 1.0, 0.0], [0.8, 0.1, 1.0, 0.0]])
    assert FUSIONS[name](sure, exponent).tolist() == [True, False, True, False]


def test_equal_weights_are_the_mean():
    probability = torch.rand((3, 100), generator=torch.Generator().manual_seed(0))
    expected = FUSIONS["mean"](probability, 1.0)
    assert torch.equal(weighted(probability, (1 / 3, 1 / 3, 1 / 3)), expected)


def test_each_class_is_fused_by_its_own_weights():
    marks = torch.tensor([[[0.9, 0.1]], [[0.2, 0.8]]])[..., None, None]
    liver, tumour = fuse(marks, FusionSettings(kind="weighted", weights=((1.0, 0.0), (0.0, 1.0))))
    assert liver.all()
    assert tumour.all()


def test_a_weighted_mean_is_compared_only_once_its_weights_are_known():
    assert [each.kind for each in rivals(FusionSettings())] == ["blumberg", "mean", "majority"]
    assert rivals(FusionSettings(weights=((1.0, 1.0),)))[-1].kind == "weighted"


def test_the_benchmarks_loops_fuse_as_the_formula_does():
    p = torch.rand((3, 1, 1, 9, 9), generator=torch.Generator().manual_seed(2))
    expected = blumberg(p[:, :, 0].double(), 1.0)
    assert np.array_equal(seven_loops(p.numpy(), 1.0), expected.numpy())


def figures(liver: float, tumour: float) -> Figures:
    """Of a patient with both: so many pixels of 100 are found, and none besides."""
    return Figures(*({"one": Overlap(int(part), int(part), 100, 999)} for part in (liver, tumour)))


def test_the_fusion_with_the_best_mean_of_liver_and_tumour_is_chosen(tiny_recipe, monkeypatch):
    compared = {
        "blumberg": figures(90, 20),
        "mean": figures(80, 40),
        "majority": figures(95, 10),
        "weighted": figures(20, 30),
    }
    monkeypatch.setattr("trainer.training.fusion_choice.learn_weights", lambda *of: ((1.0, 1.0),))
    monkeypatch.setattr("trainer.training.fusion_choice.compare_fusions", lambda *of: compared)
    graph = SimpleNamespace(fusing=None)
    best, told = choose_fusion(graph, tiny_recipe, None)
    assert best.kind == graph.fusing.kind == "mean"
    assert told is compared
