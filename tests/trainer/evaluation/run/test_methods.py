from types import SimpleNamespace

import numpy as np
import pytest
import torch

from engine.device import Answer
from engine.phantom import make_phantom
from engine.volume import Label
from trainer.datasets.cases.case import Case
from trainer.evaluation.run.methods import in_batches, on_device, side_by_side
from trainer.evaluation.run.patients import PatientCase
from trainer.recipe.sections import FusionSettings


def mark_by_neighbours(hu, spacing_mm):
    """Mark what both neighbours are; the ends are their own."""
    padded = np.concatenate([hu[:1], hu, hu[-1:]])
    return {"both": (padded[:-2] + padded[2:]).astype(np.uint8)}


@pytest.mark.parametrize("batch", [1, 2, 3, 7, 20])
def test_slices_see_their_neighbours_whatever_the_batch(batch):
    hu = np.arange(7, dtype=np.float16)[:, None, None] * np.ones((1, 2, 2), np.float16)
    whole = mark_by_neighbours(hu, (1.0, 1.0))["both"]
    found = in_batches(hu, (1.0, 1.0), mark_by_neighbours, batch, neighbours=1)["both"]
    np.testing.assert_array_equal(found, whole)


class Specks:
    """A device, or a graph, that marks a liver, a speck of liver beside it and a tumour on air."""

    name, batch = "specks", 4
    names, working = ("specks",), SimpleNamespace(neighbours=0)
    fusing = FusionSettings(kind="mean")

    def run(self, hu, spacing_mm) -> Answer:
        labels = np.zeros(hu.shape, np.uint8)
        labels[:, 4:28, 4:20] = Label.LIVER
        labels[:, 30:32, 30:32] = Label.LIVER
        labels[:, 2:8, 30:36] = Label.TUMOUR
        return Answer(labels, np.ones((len(hu), 2, 2), np.float32))

    def marks(self, hu, spacing):
        labels = torch.from_numpy(self.run(hu.numpy(), spacing).labels)
        planes = torch.stack([labels > 0, labels == Label.TUMOUR], dim=1)
        return planes[None].float(), None


@pytest.mark.parametrize(
    "method",
    [on_device("specks", Specks()), side_by_side("specks", Specks())],
    ids=["device", "torch"],
)
def test_whole_volumes_are_cleaned_as_the_node_cleans_them(method):
    phantom = make_phantom(1, shape=(8, 40, 40), spacing_mm=(10.0, 9.0, 9.0))
    case = Case("one", "made", "1", phantom.volume, phantom.truth.labels)
    exams = method(PatientCase("one", case))
    assert exams
    for exam in exams.values():
        (piece,) = exam.pieces
        assert (piece.found[:, 10:20, 8:16] == Label.LIVER).all()
        assert not piece.found[:, 30:32, 30:32].any()
        assert not piece.found[:, 2:8, 30:36].any()
