"""Slices of phantoms, for training beside those of patients."""

import numpy as np

from engine.phantom import make_phantom
from trainer.datasets.cases.slices import SIDE, Slices, concatenate

PIXEL_MM = 1.5


def phantom_slices(count: int, first_seed: int) -> Slices:
    """Draw `count` phantoms and keep every slice; they are patients of their own."""
    return concatenate([_slices(seed) for seed in range(first_seed, first_seed + count)])


def _slices(seed: int) -> Slices:
    # 12 mm: closer slices of a phantom would show nearly the same.
    spacing = (12.0, PIXEL_MM, PIXEL_MM)
    # HU, from a generator of its own: the phantom's anatomy stays that of its seed.
    noise = np.random.default_rng(seed).uniform(5, 20)
    phantom = make_phantom(seed, shape=(22, SIDE, SIDE), spacing_mm=spacing, noise_hu=noise)
    count = len(phantom.volume.hu)
    return Slices(
        phantom.volume.hu,
        phantom.truth.labels,
        np.full(count, f"phantom{seed}"),
        np.full(count, PIXEL_MM, np.float32),
    )
