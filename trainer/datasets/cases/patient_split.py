"""Split by patient, never by slice."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.datasets.cases.slices import Slices
from trainer.datasets.cases.target import NOT_EVERYWHERE
from trainer.errors import BadData

DRAWS = 100
"""Random splits drawn to find one that holds out its share of the tumours."""


@dataclass(frozen=True)
class Split:
    """Two sets of patients without a common member."""

    train: tuple[str, ...]
    held_out: tuple[str, ...]


def split_patients(slices: Slices, parts: int, seed: int) -> Split:
    """Hold out one in `parts` patients, with about one in `parts` of the tumour that was drawn.

    Patients are ordered by their tumour; of each run of `parts` neighbours one is held out at
    random. Of many such draws, the one that holds out nearest to its share of the tumour is kept.
    A patient who was not looked at everywhere is always learnt from. Of fewer patients than
    `parts` one is held out, and none if there is only one.
    """
    partly = slices.patient[np.any(np.isin(slices.target, NOT_EVERYWHERE), axis=(1, 2))]
    whole = slices[~np.isin(slices.patient, partly)]
    names, index = np.unique(whole.patient, return_inverse=True)
    burden = np.bincount(index, weights=whole.tumour_pixels)
    # Names settle ties, so that the split does not depend on the order of the files.
    order = np.lexsort((names, -burden))
    random = np.random.default_rng(seed)
    # One stratified draw can still miss the few patients who hold most of the tumour.
    draws = [_one_of_each(order, parts, random) for _ in range(DRAWS)]
    share = burden.sum() / parts
    held_out = min(draws, key=lambda draw: abs(float(burden[draw].sum()) - share))
    train = np.setdiff1d(slices.patient, names[held_out])
    return Split(tuple(train.tolist()), tuple(sorted(names[held_out].tolist())))


def fold_patients(
    slices: Slices, folds: int, seed: int, among: Iterable[str] = ()
) -> list[tuple[str, ...]]:
    """Share the patients out over folds, with about as much of the drawn tumour in each.

    Patients are ordered by their tumour; each run of `folds` neighbours is dealt out at random. A
    patient who was not looked at everywhere is in no fold.

    Args:
        slices: of all patients.
        folds: number of folds.
        seed: of the draw.
        among: the patients who may be held out; all if empty.

    Raises:
        BadData: there are fewer patients than folds.
    """
    partly = slices.patient[np.any(np.isin(slices.target, NOT_EVERYWHERE), axis=(1, 2))]
    whole = slices[~np.isin(slices.patient, partly)]
    chosen = list(among)
    whole = whole.of(chosen) if chosen else whole
    names, index = np.unique(whole.patient, return_inverse=True)
    if len(names) < folds:
        raise BadData(
            f"{len(names)} patients that can be held out are too few for {folds} folds: take "
            f"--folds {len(names)} or less, at least 2, or add patients"
        )
    order = np.lexsort((names, -np.bincount(index, weights=whole.tumour_pixels)))
    random = np.random.default_rng(seed)
    parts: list[list[str]] = [[] for _ in range(folds)]
    for start in range(0, len(order), folds):
        run = order[start : start + folds]
        for fold, patient in zip(random.permutation(folds), run, strict=False):
            parts[fold].append(str(names[patient]))
    return [tuple(sorted(part)) for part in parts]


def hold_out(slices: Slices, patients: Iterable[str]) -> Split:
    """Split off the named patients, as far as they are there; all others are learnt from."""
    held_out = np.intersect1d(slices.patient, list(patients))
    train = np.setdiff1d(slices.patient, held_out)
    return Split(tuple(train.tolist()), tuple(held_out.tolist()))


def take_share(slices: Slices, share: float, seed: int) -> Slices:
    """Return the slices of part of the patients, of those with tumour and of those without alike.

    A smaller share is part of a larger one, so that a learning curve adds patients only.
    """
    patients = np.unique(slices.patient)
    ill = np.isin(patients, slices.patient[slices.tumour_pixels > 0])
    chosen: list[str] = []
    for group in (patients[ill], patients[~ill]):
        # The same permutation for every share, cut at another length.
        order = np.random.default_rng(seed).permutation(len(group))
        chosen += group[order[: math.ceil(share * len(group))]].tolist()
    return slices.of(chosen)


def _one_of_each(
    order: NDArray[np.intp], parts: int, random: np.random.Generator
) -> NDArray[np.intp]:
    parts = min(parts, len(order))
    if parts < 2:
        return order[:0]
    # An incomplete last run, those with the least tumour, is learnt from whole.
    starts = np.arange(0, len(order) - parts + 1, parts)
    one: NDArray[np.intp] = order[starts + random.integers(0, parts, len(starts))]
    return one
