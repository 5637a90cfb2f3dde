"""Reasons to look at a labelled series before it is learnt from."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from trainer.datasets.cases.slices import Slices
from trainer.datasets.cases.target import INSIDE, Target

USUAL_LIVER_ML = 600, 4000
USUAL_LIVER_HU = 20, 200
"""Median of the liver, from a fatty one without contrast to the portal venous phase."""
AIR_HU, FAT_HU = -500, -30
WIDEST_HU = -300, 300
"""A series that was not clipped goes beyond both."""
OUTSIDE = 0.05
"""Part of the outline that may be air or fat: partial volume at the edge."""
SATURATED = 0.2
FEW_PIXELS = 60
BONE_HU = 250
ASIDE = 0.02
"""Part of the side by which one thing must lie beside another to be on the wrong side."""
RAGGED = 7.0
"""Edge of an outline in pixels over the root of its area. Circles have 3.5, livers up to 6.5."""
LUNG = 0.03
"""Part of a slice that is lung near the diaphragm."""
LEAST_SLICES = 10
"""Fewer cannot show the direction of the series, or whether a liver is complete."""


def doubts_about(slices: Slices, liver_ml: float, *, whole: bool) -> tuple[str, ...]:
    """Return what is unusual; nothing where all is as it should be.

    Args:
        slices: of one series, or of one patient where they are scattered.
        liver_ml: nan where unknown.
        whole: they are a volume, which should have its spacing and all of its HU; files of
            scattered slices are known to have lost both.
    """
    limits = (*_clipped(slices), *_spacing(slices)) if whole else ()
    if not slices.liver_pixels.any():
        return ("no liver is drawn", *limits)
    checks: list[Callable[[Slices], tuple[str, ...]]] = [_brightness, _outside, _sides, _ragged]
    checks.append(_ends if whole else _nearly_empty)
    return (*_size(liver_ml), *limits, *(doubt for check in checks for doubt in check(slices)))


def _size(liver_ml: float) -> tuple[str, ...]:
    low, high = USUAL_LIVER_ML
    if np.isnan(liver_ml) or low <= liver_ml <= high:
        return ()
    return (f"a liver of {liver_ml:.0f} ml; {low} to {high} ml are usual",)


def _clipped(slices: Slices) -> tuple[str, ...]:
    low, high = int(slices.hu.min()), int(slices.hu.max())
    if low < WIDEST_HU[0] and high > WIDEST_HU[1]:
        return ()
    return (f"HU are clipped to {low} to {high}",)


def _brightness(slices: Slices) -> tuple[str, ...]:
    liver = slices.hu[_inside(slices)]
    # The highest value of a clipped series is the window's bound, where all brighter voxels lie.
    median, bright = np.median(liver), np.mean(liver >= slices.hu.max())
    low, high = USUAL_LIVER_HU
    doubts = []
    if not low <= median <= high:
        doubts.append(f"the liver has {median:.0f} HU; {low} to {high} are usual")
    if bright > SATURATED:
        doubts.append(f"{bright:.0%} of the liver is as bright as the window can say")
    return tuple(doubts)


def _outside(slices: Slices) -> tuple[str, ...]:
    # Where the window ends above fat, its lowest value stands for fat and air alike.
    floor = max(FAT_HU, int(slices.hu.min()) + 1)
    share = float(np.mean(slices.hu[_inside(slices)] < floor))
    return (f"{share:.0%} of the outline is air or fat",) if share > OUTSIDE else ()


def _nearly_empty(slices: Slices) -> tuple[str, ...]:
    pixels = slices.liver_pixels
    count = int(np.count_nonzero((pixels > 0) & (pixels < FEW_PIXELS)))
    return (f"slices with a liver under {FEW_PIXELS} pixels: {count}",) if count else ()


def _ragged(slices: Slices) -> tuple[str, ...]:
    """An outline in stripes, or one that wanders through other organs."""
    inside, pixels = _inside(slices), slices.liver_pixels
    padded = np.pad(inside, ((0, 0), (1, 1), (1, 1)))
    around = [np.roll(padded, step, axis)[:, 1:-1, 1:-1] for axis in (1, 2) for step in (-1, 1)]
    edge = np.count_nonzero(inside & ~np.logical_and.reduce(around), axis=(1, 2))
    # Outlines below 100 pixels are all edge.
    count = int(np.count_nonzero((pixels > 100) & (edge > RAGGED * np.sqrt(pixels))))
    return (f"slices with a ragged outline: {count}",) if count else ()


def _spacing(slices: Slices) -> tuple[str, ...]:
    return ("the pixel size is lost",) if np.isnan(slices.pixel_mm).any() else ()


def _sides(slices: Slices) -> tuple[str, ...]:
    """The liver lies on the patient's right, where columns begin; the spine at the back."""
    if np.any(slices.target == Target.UNKNOWN):  # a crop
        return ()
    whole = _middle(slices.hu > max(FAT_HU, int(slices.hu.min()) + 1))
    doubts = []
    if _middle(_inside(slices))[1] > whole[1] + ASIDE:
        doubts.append("the liver lies on the patient's left: mirrored?")
    bone = slices.hu > BONE_HU
    # Bones can only be told where the window did not clip them to the level of vessels.
    if slices.hu.max() > WIDEST_HU[1] and _middle(bone)[0] < whole[0] - ASIDE:
        doubts.append("the bones lie in front: upside down?")
    return tuple(doubts)


def _ends(slices: Slices) -> tuple[str, ...]:
    """Checks of a whole series: lungs lie at the head, and the liver has two ends."""
    if len(slices) < LEAST_SLICES:
        return ()
    doubts = []
    # A fifth at either end: the lung bases, or the pelvis.
    fifth = len(slices) // 5
    lungs = [
        float(np.mean(_lungs(slices.hu[part]))) for part in (slice(fifth), slice(-fifth, None))
    ]
    if lungs[0] > LUNG and lungs[0] > 3 * lungs[1]:
        doubts.append("the lungs lie at the feet: head first?")
    for index, end in ((0, "foot"), (-1, "head")):
        if slices.liver_pixels[index]:
            doubts.append(f"the liver is cut off at the {end}")
    return tuple(doubts)


def _lungs(hu: NDArray[np.int16]) -> NDArray[np.bool_]:
    """Air with body to either side."""
    body = hu > AIR_HU
    left = np.logical_or.accumulate(body, axis=2)
    right = np.logical_or.accumulate(body[:, :, ::-1], axis=2)[:, :, ::-1]
    return np.asarray(left & right & ~body)


def _inside(slices: Slices) -> NDArray[np.bool_]:
    return np.asarray(np.isin(slices.target, INSIDE))


def _middle(mask: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the mean row and column of a mask as parts of the side."""
    rows, columns = (mask.sum(axis=axes, dtype=np.int64) for axes in ((0, 2), (0, 1)))
    place = (np.arange(mask.shape[-1]) + 0.5) / mask.shape[-1]
    return float(rows @ place / rows.sum()), float(columns @ place / columns.sum())
