"""From a volume to its label map: look, compute, clean."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from engine.device import Device, liver_hu_of, neighbours_of, pooled_agreement
from engine.segmentation.cleaning import SMALLEST_TUMOUR_MM3, clean
from engine.segmentation.liver_level import LiverLevel, shift_to
from engine.segmentation.liver_search import around, search_steps_mm, spread
from engine.segmentation.slice_vote import majority_vote
from engine.slabs import cut, runs
from engine.volume import Label, LabelMap, Volume

HU_BOUNDS = -1024, 2048
"""Padding of -3024 becomes air, and float16 holds every integer between these exactly."""

Progress = Callable[[int, int], None]
"""Called with the slices computed and those known so far to be needed; these may grow."""

Where = NDArray[np.intp] | slice
Call = tuple[Where, slice, Where]
"""The slices that a call shows, which of its answers count, and whose they are."""


@dataclass(frozen=True, eq=False)
class Segmentation:
    """What was found in a volume, and what it took."""

    label_map: LabelMap
    agreement: dict[Label, float]
    """Part of what any member marked that every member marked; the liver counts its tumours."""
    seconds: dict[str, float]
    """For each stage: search, compute, clean."""
    slices_computed: int
    """How many slices went through the ensemble; those of the search twice if it was shifted."""
    dropped_ml: float = 0.0
    """What was marked away from the liver, in other pieces, before the cleaning."""
    liver_hu: float | None = None
    """Level of the liver as it was scanned; None where the search saw too little of it."""
    shift_hu: int = 0
    """Added to every voxel, so that the liver has the level that the model learnt from."""


def segment(
    volume: Volume,
    device: Device,
    progress: Progress | None = None,
    *,
    smallest_tumour_mm3: float = SMALLEST_TUMOUR_MM3,
) -> Segmentation:
    """Mark the liver and its tumours in a volume.

    A model that expects livers of one level gets the volume shifted to it, by what the search saw
    of the liver. Slices go to the device as they lie in the volume: none is resampled across
    slices, and none is computed where the search found no liver near it.

    Raises:
        DeviceFailed: the device could not compute it.
    """
    start = perf_counter()
    sheet = _LabelBuilder(volume, device, progress)
    sheet.search()
    sheet.shift()
    searched = perf_counter()
    sheet.follow()
    computed = perf_counter()
    marked = majority_vote(LabelMap(sheet.labels, volume.geometry))
    label_map = clean(marked, smallest_tumour_mm3)
    dropped_ml = _dropped_ml(marked, label_map)
    cleaned = perf_counter()
    return Segmentation(
        label_map,
        pooled_agreement(sheet.agreement),
        {"search": searched - start, "compute": computed - searched, "clean": cleaned - computed},
        sheet.computed,
        dropped_ml,
        sheet.level.hu,
        sheet.shift_hu,
    )


def _dropped_ml(marked: LabelMap, cleaned: LabelMap) -> float:
    """Return the volume that was marked and is no longer."""
    planes = zip(marked.labels, cleaned.labels, strict=True)  # one by one, for the memory
    dropped = sum(np.count_nonzero((before > 0) & (after == 0)) for before, after in planes)
    return dropped * marked.geometry.voxel_ml


class _LabelBuilder:
    """The labels of a volume as they fill up."""

    def __init__(self, volume: Volume, device: Device, progress: Progress | None) -> None:
        self.volume = volume
        self.device = device
        self.progress = progress or (lambda done, needed: None)
        count = len(volume.hu)
        self.labels = np.zeros(volume.hu.shape, np.uint8)
        self.agreement = np.zeros((count, 2, 2), np.float32)
        self.done = np.zeros(count, np.bool_)
        self.seen = np.zeros(count, np.bool_)
        self.computed = 0
        _, rows_mm, columns_mm = volume.geometry.spacing
        self.level = LiverLevel(rows_mm * columns_mm)
        self.shift_hu = 0

    def search(self) -> None:
        """Look for liver, more closely where there seems to be none."""
        spacing_mm = self.volume.geometry.spacing[0]
        for step_mm in search_steps_mm(len(self.done) * spacing_mm):
            self.compute(spread(len(self.done), spacing_mm, step_mm))
            if self.seen.any():
                return

    def shift(self) -> None:
        """Where the liver lies far from the model's level, forget all but where it was seen."""
        wanted_hu = liver_hu_of(self.device)
        if wanted_hu is None:
            return
        for index in np.flatnonzero(self.seen):  # one by one: a copy of all would take memory
            self.level.add(self.volume.hu[index], self.labels[index])
        self.shift_hu = shift_to(wanted_hu, self.level.hu)
        if self.shift_hu:
            self.labels[self.done] = 0
            self.agreement[:] = 0
            self.done[:] = False

    def follow(self) -> None:
        """Go on from the slices with liver until there is none beside them."""
        spacing_mm = self.volume.geometry.spacing[0]
        while ((near := around(self.seen, spacing_mm)) & ~self.done).any():
            self.compute(near)

    def compute(self, wanted: NDArray[np.bool_]) -> None:
        """Fill those of the wanted slices that are not filled yet."""
        indices = np.flatnonzero(wanted & ~self.done)
        needed = len(indices) + self.computed
        low, high = (bound - self.shift_hu for bound in HU_BOUNDS)
        _, rows_mm, columns_mm = self.volume.geometry.spacing
        for shown, kept, batch in self._calls(indices):
            hu = np.clip(self.volume.hu[shown], low, high) + self.shift_hu
            answer = self.device.run(hu.astype(np.float16), (rows_mm, columns_mm))
            self.labels[batch] = answer.labels[kept]
            self.agreement[batch] = answer.agreement[kept]
            self.seen[batch] = answer.labels[kept].any(axis=(1, 2))
            self.done[batch] = True
            self.computed += len(answer.labels[kept])
            self.progress(self.computed, needed)

    def _calls(self, indices: NDArray[np.intp]) -> Iterator[Call]:
        """Yield calls for the slices: any together, or those that follow one another."""
        neighbours, batch = neighbours_of(self.device), self.device.batch
        if neighbours:
            count = len(self.done)
            for first, stop in runs(indices):
                for slab in cut(first, stop, count, batch + 2 * neighbours, neighbours):
                    yield slab.shown, slab.kept, slab.place
            return
        for start in range(0, len(indices), batch):
            part = indices[start : start + batch]
            yield part, slice(None), part
