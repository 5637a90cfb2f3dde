"""Contrast phase of a CT series by the densities of the liver and its veins, on a few slices.

Parenchyma without contrast has 55 to 65 HU, blood about 40. Goshima et al. (AJR 2006;187:W25,
4 ml/s) measured what contrast adds: in the late arterial phase 15 to 25 HU to the liver and 75 to
104 HU to the portal vein, in the portal venous phase 59 to 63 HU to the liver. From two minutes on
blood falls to the level of the liver. So the liver separates the two early phases from the two late
ones, and the veins within it separate either pair. The aorta is not measured: the model does not
mark it. A fatty liver is darker than this, and its portal venous phase looks arterial.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dicom_node.choice.contrast_phase import UNKNOWN, FoundPhase, Phase
from dicom_node.series.kinds import Handling
from dicom_node.series.reading import read_files
from dicom_node.series.stacks import Stack, find_stacks
from dicom_node.series.volume import stack_volume
from engine.device import Device
from engine.segmentation.segment import segment
from engine.volume import Label, LabelMap, Volume

ENHANCED_HU = 90.0
"""Liver between the late arterial phase (up to 85 HU) and the portal venous one (from 110 HU)."""
VEINS_HU = 20.0
"""Veins above the liver: 40 to 60 HU in the arterial and the portal venous phase, under 20 HU in
the delayed one, below zero without contrast."""
VEINS_PERCENTILE = 98
"""Of the liver's blocks; veins take up some per cent of it."""
METAL_HU = 300
"""Clips, lipiodol and what else is denser than any vein of these phases."""
SLICES = 9
MIDDLE = 0.2, 0.8
"""Part of a series, from end to end, in which the slices lie that are looked at."""
BLOCK_MM = 2.0
"""Pixels are averaged in blocks of about this size, so that noise is not taken for veins."""
LEAST_BLOCKS = 500
"""About 20 ml of liver on slices of 10 mm."""


@dataclass(frozen=True)
class Densities:
    """Hounsfield units of the liver and of the veins within it."""

    liver_hu: float
    veins_hu: float

    @property
    def phase(self) -> FoundPhase:
        """The phase that they show."""
        bright = self.veins_hu - self.liver_hu >= VEINS_HU
        if self.liver_hu >= ENHANCED_HU:
            phase = Phase.PORTAL if bright else Phase.DELAYED
        else:
            phase = Phase.ARTERIAL if bright else Phase.NATIVE
        return FoundPhase(phase, f"liver {self.liver_hu:.0f} HU, its veins {self.veins_hu:.0f} HU")


def measured_phase(paths: Sequence[Path], device: Device) -> FoundPhase:
    """Return the phase that a series shows on a few slices; unknown where they show little liver.

    Raises:
        UnsupportedSeries: pixels cannot be read.
        DeviceFailed: the device failed.
    """
    stacks = find_stacks(read_files(paths, pixels=False).instances).stacks
    usable = [each for each in stacks if each.handling() is not Handling.REFUSE]
    if not usable:
        return UNKNOWN
    volume = stack_volume(_middle(max(usable, key=lambda each: len(each.frames))))
    found = densities(volume, segment(volume, device).label_map)
    return found.phase if found else UNKNOWN


def densities(volume: Volume, label_map: LabelMap) -> Densities | None:
    """Return the densities in the liver that is marked in a volume; None where there is little."""
    liver = label_map.labels == Label.LIVER
    _, row_mm, column_mm = volume.geometry.spacing
    size = max(1, round(BLOCK_MM / row_mm)), max(1, round(BLOCK_MM / column_mm))
    # Blocks that lie in the liver as a whole: at its edge they would hold fat or lung.
    means, whole = _blocks(volume.hu, size).mean(axis=-1), _blocks(liver, size).all(axis=-1)
    values = means[whole & (means < METAL_HU)]
    if values.size < LEAST_BLOCKS:
        return None
    # Median and percentile: tumours and fat around vessels are a small part and move neither much.
    return Densities(float(np.median(values)), float(np.percentile(values, VEINS_PERCENTILE)))


def _middle(stack: Stack) -> Stack:
    last = len(stack.frames) - 1
    places = np.linspace(MIDDLE[0] * last, MIDDLE[1] * last, SLICES)
    chosen = sorted({round(place) for place in places})
    return replace(stack, frames=tuple(stack.frames[index] for index in chosen))


def _blocks(planes: NDArray[np.generic], size: tuple[int, int]) -> NDArray[np.generic]:
    """Return (slices, blocks down, blocks across, pixels of a block); edges are left out."""
    slices, rows, columns = planes.shape
    down, across = rows // size[0], columns // size[1]
    cut = planes[:, : down * size[0], : across * size[1]]
    split = cut.reshape(slices, down, size[0], across, size[1]).swapaxes(2, 3)
    return split.reshape(slices, down, across, size[0] * size[1])
