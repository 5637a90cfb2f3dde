"""Components and holes by runs, compared with cc3d, which labels voxels."""

import cc3d
import numpy as np
import pytest

from engine.segmentation.components import find_runs, padded

SHAPES = [(1, 1, 1), (1, 1, 9), (3, 1, 8), (1, 5, 16), (7, 6, 17), (5, 9, 40)]


def runs_of(mask):
    bits = padded(np.packbits(mask, axis=-1))
    return find_runs(bits), bits.shape


def mask_of(runs, padded_shape, columns):
    slices, rows, width = padded_shape
    flat = np.zeros((slices, rows, 8 * width), bool)
    flat.reshape(-1)[runs.voxels()] = True
    outside = flat.copy()
    outside[1:-1, :-1, :columns] = False
    assert not outside.any()
    return flat[1:-1, :-1, :columns]


def noise(shape, part, seed):
    return np.random.default_rng(seed).random(shape) < part


def everything(part):
    return [noise(shape, part, seed) for shape in SHAPES for seed in range(6)]


@pytest.mark.parametrize("part", [0, 0.2, 0.5, 0.8, 1])
def test_runs_hold_every_voxel_once(part):
    for mask in everything(part):
        runs, shape = runs_of(mask)
        np.testing.assert_array_equal(mask_of(runs, shape, mask.shape[2]), mask)
        assert runs.lengths.sum() == mask.sum()
        assert (runs.starts[1:] > runs.ends[:-1]).all()


@pytest.mark.parametrize("part", [0.2, 0.4, 0.6, 0.8, 1])
def test_components_are_those_of_cc3d(part):
    for mask in everything(part):
        runs, shape = runs_of(mask)
        pieces, count = cc3d.connected_components(
            mask, connectivity=6, binary_image=True, return_N=True
        )
        assert len(np.unique(runs.components)) == count
        assert sorted(runs.sizes[runs.sizes > 0]) == sorted(np.bincount(pieces[mask])[1:])
        for first in np.unique(runs.components):
            component = mask_of(runs.of(runs.components == first), shape, mask.shape[2])
            assert len(np.unique(pieces[component])) == 1


@pytest.mark.parametrize("part", [0.3, 0.5, 0.7, 0.9, 1])
def test_holes_are_the_components_that_do_not_reach_the_border(part):
    for mask in everything(part):
        runs, shape = runs_of(mask)
        around = np.pad(~mask, 1, constant_values=True)
        pieces = cc3d.connected_components(around, connectivity=6, binary_image=True)
        enclosed = (pieces != pieces[0, 0, 0])[1:-1, 1:-1, 1:-1] & ~mask
        found = mask_of(runs.holes(), shape, mask.shape[2])
        np.testing.assert_array_equal(found, enclosed)


def test_a_shell_encloses_its_inside_until_it_has_a_hole():
    mask = np.zeros((9, 20, 20), bool)
    mask[1:8, 2:18, 2:18] = True
    mask[2:7, 3:17, 3:17] = False
    runs, _ = runs_of(mask)
    assert len(runs.holes().voxels()) == 5 * 14 * 14
    mask[4, 2, 9] = False
    runs, _ = runs_of(mask)
    assert not len(runs.holes().voxels())


def test_opposite_edges_of_the_volume_do_not_touch():
    mask = np.zeros((4, 4, 8), bool)
    mask[0, 0, 7] = mask[0, 1, 0] = mask[0, 3, 3] = mask[1, 0, 3] = True
    runs, _ = runs_of(mask)
    assert len(np.unique(runs.components)) == 4
