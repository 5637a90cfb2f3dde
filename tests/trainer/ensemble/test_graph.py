import pytest
import torch

from trainer.ensemble.graph import EnsembleGraph, labels, with_tumour_threshold
from trainer.recipe.sections import FusionSettings


class Bright(torch.nn.Module):
    """Marks as liver what is bright in its first channel."""

    def forward(self, seen):
        liver = (seen[:, :1] - 0.5) * 100
        return torch.cat([torch.zeros_like(liver), liver, torch.full_like(liver, -100)], dim=1)


def test_a_tumour_outside_of_the_liver_is_background():
    liver, tumour = [0.9, 0.9, 0.1, 0.1], [0.9, 0.1, 0.9, 0.1]
    marks = torch.tensor([liver, tumour])[None, None, :, None]
    found = labels(marks, FusionSettings(kind="mean"))
    assert found.flatten().tolist() == [2, 1, 0, 0]


def test_rows_and_columns_have_their_own_spacing(tiny_recipe):
    recipe = tiny_recipe.model_copy(update={"members": tiny_recipe.members[:1]})
    graph = EnsembleGraph([Bright()], recipe)
    square = torch.zeros((1, 64, 64))
    square[0, 16:48, 16:48] = 150
    _, alike = graph(square.half(), torch.tensor([7.0, 7.0]))
    narrow = square[:, :, ::2]
    found, working = graph(narrow.half(), torch.tensor([7.0, 14.0]))
    assert found.shape == narrow.shape
    assert working[0, 0, 0] == pytest.approx(float(alike[0, 0, 0]), rel=0.1)


@pytest.mark.parametrize("threshold", [0.2, 0.35, 0.5, 0.8])
def test_a_tumour_counts_from_the_threshold_on_and_certainty_stays_certainty(threshold):
    tumour = torch.tensor([0.0, threshold - 0.01, threshold + 0.01, 1.0])
    liver = torch.tensor([0.3, 0.6, 0.9, 1.0])
    marks = torch.stack([liver, tumour])[None, None, :, None]
    bent = with_tumour_threshold(marks, threshold)
    assert torch.equal(bent[:, :, 0], marks[:, :, 0])
    found = bent[0, 0, 1, 0]
    assert (found > 0.5).tolist() == [False, False, True, True]
    assert found[[0, -1]].tolist() == pytest.approx([0, 1])
    assert (found.diff() > 0).all()


def test_the_graph_marks_tumours_by_the_recipes_threshold(tiny_recipe):
    class Unsure(torch.nn.Module):
        def forward(self, seen):
            p = torch.tensor([0.05, 0.55, 0.4]).log()
            return p[None, :, None, None].expand(len(seen), 3, *seen.shape[2:])

    fusion = tiny_recipe.fusion.model_copy(update={"tumour_threshold": 0.35})
    hu, spacing = torch.zeros((1, 16, 16)).half(), torch.tensor([7.0, 7.0])
    for settings, label in ((tiny_recipe.fusion, 1), (fusion, 2)):
        recipe = tiny_recipe.model_copy(
            update={"members": tiny_recipe.members[:1], "fusion": settings}
        )
        found, agreement = EnsembleGraph([Unsure()], recipe)(hu, spacing)
        assert set(found.flatten().tolist()) == {label}
        assert (agreement[0, 1, 0] > 0) == (label == 2)
