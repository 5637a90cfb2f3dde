"""Segmentation of a volume: search, compute, vote, clean."""

import math
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from engine.device import Answer, Device, liver_hu_of, neighbours_of, pooled_agreement
from engine.hounsfield import HU_BOUNDS
from engine.segmentation.cleaning import SMALLEST_TUMOUR_MM3, clean_packed
from engine.segmentation.liver_level import LiverLevel, shift_to
from engine.segmentation.liver_search import around, search_steps_mm, spread
from engine.segmentation.packed_labels import PackedLabels
from engine.segmentation.slice_vote import vote
from engine.slabs import cut, runs
from engine.volume import Label, LabelMap, Volume

Progress = Callable[[int, int], None]
"""Called with the number of slices computed, and of those known so far to be needed, which may
grow."""

Where = NDArray[np.intp] | slice
Call = tuple[Where, slice, Where]
"""Input slices of a call, the part of its answer that counts, and the slices that this is for."""


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Result of the segmentation of a volume."""

    label_map: LabelMap
    agreement: dict[Label, float]
    """Agreement of the members (intersection over union), per class; the liver includes tumours."""
    seconds: dict[str, float]
    """Duration of each stage: search, compute, clean."""
    slices_computed: int
    """Slices computed; those of the search count twice if the volume was shifted."""
    dropped_ml: float = 0.0
    """Volume of the marked components that the clean-up removed."""
    liver_hu: float | None = None
    """Level of the liver as it was scanned; None where the search saw too little of it."""
    shift_hu: int = 0
    """Added to every voxel, so that the liver has the level that the model learnt from."""
    agreement_counts: NDArray[np.float32] | None = None
    """(slices, 2, 2), as in `Answer.agreement`; 0 where a slice was not computed."""


def segment(
    volume: Volume,
    device: Device,
    progress: Progress | None = None,
    *,
    smallest_tumour_mm3: float = SMALLEST_TUMOUR_MM3,
) -> Segmentation:
    """Segment the liver and its tumours in a volume.

    A model that expects livers of one level gets the volume shifted to it, by what the search saw
    of the liver. Slices go to the device as they lie in the volume: none is resampled across
    slices, and none is computed where the search found no liver near it.

    Raises:
        DeviceFailed: the device failed.
    """
    start = perf_counter()
    builder = _LabelBuilder(volume, device, progress)
    builder.search()
    builder.shift()
    searched = perf_counter()
    builder.follow()
    computed = perf_counter()
    voxel_ml = volume.geometry.voxel_ml
    # Before the clean-up, which drops what a vote has cut off and fills what it has closed.
    voted = vote(builder.labels, volume.geometry.spacing[0])
    found = clean_packed(voted, math.ceil(smallest_tumour_mm3 / (voxel_ml * 1000)))
    cleaned = perf_counter()
    return Segmentation(
        LabelMap(found.labels, volume.geometry),
        pooled_agreement(builder.agreement),
        {"search": searched - start, "compute": computed - searched, "clean": cleaned - computed},
        builder.computed,
        found.dropped * voxel_ml,
        builder.level.hu,
        builder.shift_hu,
        builder.agreement,
    )


class _LabelBuilder:
    """The labels of a volume while slices are being computed."""

    def __init__(self, volume: Volume, device: Device, progress: Progress | None) -> None:
        self.volume = volume
        self.device = device
        self.progress = progress or (lambda done, needed: None)
        count = len(volume.hu)
        self.labels = PackedLabels.empty(volume.geometry.shape)
        self.agreement = np.zeros((count, 2, 2), np.float32)
        self.done = np.zeros(count, np.bool_)
        self.seen = np.zeros(count, np.bool_)
        self.computed = 0
        _, rows_mm, columns_mm = volume.geometry.spacing
        self.level = LiverLevel(rows_mm * columns_mm)
        self.shift_hu = 0

    def search(self) -> None:
        """Compute slices at a coarse step, then at a finer one if none of them has liver."""
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
            self.level.add(self.volume.hu[index], self.labels.labels(index))
        self.shift_hu = shift_to(wanted_hu, self.level.hu)
        if self.shift_hu:
            self.labels = PackedLabels.empty(self.labels.shape)
            self.agreement[:] = 0
            # `seen` stays: `follow` starts from where the unshifted volume showed liver.
            self.done[:] = False

    def follow(self) -> None:
        """Compute the slices next to those with liver until there are no more."""
        spacing_mm = self.volume.geometry.spacing[0]
        while ((near := around(self.seen, spacing_mm)) & ~self.done).any():
            self.compute(near)

    def compute(self, wanted: NDArray[np.bool_]) -> None:
        """Compute those of the slices that are not computed yet."""
        indices = np.flatnonzero(wanted & ~self.done)
        needed = len(indices) + self.computed
        for kept, batch, answer in self._answers(self._calls(indices)):
            self.labels.put(batch, answer.labels[kept])
            self.agreement[batch] = answer.agreement[kept]
            # Any label counts, also a tumour: a slice may show nothing but one.
            self.seen[batch] = self.labels.marked[batch].any(axis=(1, 2))
            self.done[batch] = True
            self.computed += len(answer.labels[kept])
            self.progress(self.computed, needed)

    def _answers(self, calls: Iterator[Call]) -> Iterator[tuple[slice, Where, Answer]]:
        """Run the calls in a thread, so that the device computes while answers are stored.

        At most one call waits beside the one that is computed: its input takes memory.
        """
        _, rows_mm, columns_mm = self.volume.geometry.spacing
        running: deque[tuple[slice, Where, Future[Answer]]] = deque()
        worker = ThreadPoolExecutor(1, "device")
        try:
            for shown, kept, batch in calls:
                answer = worker.submit(self.device.run, self._hu(shown), (rows_mm, columns_mm))
                running.append((kept, batch, answer))
                if len(running) > 1:
                    yield _waited_for(running.popleft())
            while running:
                yield _waited_for(running.popleft())
        finally:
            # Waits for a call that is running: the device must be idle when the error is handled.
            worker.shutdown(cancel_futures=True)

    def _hu(self, shown: Where) -> NDArray[np.int16]:
        """Return slices, shifted; the device clips and converts them."""
        hu = self.volume.hu[shown]
        if not self.shift_hu:
            return hu
        low, high = (bound - self.shift_hu for bound in HU_BOUNDS)
        # Clipped first: padding of -32768 plus a negative shift would wrap around to bone.
        return np.clip(hu, low, high) + np.int16(self.shift_hu)

    def _calls(self, indices: NDArray[np.intp]) -> Iterator[Call]:
        """Yield calls for the slices: in any combination, or in runs if neighbours are needed."""
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


def _waited_for(call: tuple[slice, Where, "Future[Answer]"]) -> tuple[slice, Where, Answer]:
    kept, batch, answer = call
    return kept, batch, answer.result()
