"""Choose one time point of a 4-D perfusion series: the one that favours the liver.

Two to four phases of a liver examination become results of their own. From `LEAST_TIMES` stacks at
the same places on, a series shows the passage of contrast, and one result for each second of it
would be of no use.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dicom_node.series.hounsfield import hounsfield
from dicom_node.series.reading import pixels_at_hand
from dicom_node.series.slice_positions import places_of
from dicom_node.series.stacks import Stack
from dicom_node.tolerances import TOLERANCE_MM

LEAST_TIMES = 5
"""Stacks at the same places that are more than the phases of a liver examination."""
SAMPLED = 5
"""Slices of each time point that are looked at."""
PARENCHYMA_HU = 40, 160
"""Liver before contrast and at its height; arteries and bone lie above, fat below."""


def time_points(stacks: Sequence[Stack]) -> list[Stack]:
    """Return the stacks that show the same places, if they are so many as to be a perfusion."""
    first = next(iter(stacks), None)
    if first is None:
        return []
    same = [stack for stack in stacks if _same_places(stack, first)]
    return same if len(same) >= LEAST_TIMES else []


def favoured(stacks: Sequence[Stack]) -> Stack:
    """Return the time point at which parenchyma is brightest; the first of equals.

    What parenchyma is, is decided once for all of them: pixels that are neither fat nor vessel at
    any time.

    Raises:
        UnsupportedSeries: pixels cannot be read.
    """
    count = len(stacks[0].frames)
    # The middle half: at the ends of the volume there is little parenchyma.
    indices = sorted({round(at) for at in np.linspace(count // 4, count - 1 - count // 4, SAMPLED)})
    brightness = np.zeros(len(stacks))
    for index in indices:
        planes = np.stack([_plane(stack, index) for stack in stacks])
        low, high = PARENCHYMA_HU
        steady = ((planes >= low) & (planes <= high)).all(axis=0)
        brightness += planes[:, steady].sum(axis=1, dtype=np.float64)
    return stacks[int(brightness.argmax())]


def _plane(stack: Stack, index: int) -> NDArray[np.int16]:
    frame = stack.frames[index]
    with pixels_at_hand(frame.instance):
        return hounsfield(frame)


def _same_places(stack: Stack, other: Stack) -> bool:
    if len(stack.frames) != len(other.frames):
        return False
    both = places_of((*other.frames, *stack.frames))
    half = len(other.frames)
    return bool(np.abs(both[:half] - both[half:]).max() <= TOLERANCE_MM)
