import numpy as np
import pytest

from trainer.evaluation.methods import in_batches


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
