"""Several GPUs combined into one device, with a worker thread for each."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np

from engine.device import Answer, Device, ReportsMemory, liver_hu_of, neighbours_of
from engine.hounsfield import Hounsfield
from engine.slabs import Slab, cut


class MultiGpu:
    """Devices of the same kind; each computes its share of every call in its own thread."""

    def __init__(self, devices: Sequence[Device]) -> None:
        self.devices = tuple(devices)
        self.name = devices[0].name
        self.batch = sum(device.batch for device in devices)
        self.neighbours, self.liver_hu = neighbours_of(devices[0]), liver_hu_of(devices[0])
        self._workers = ThreadPoolExecutor(len(devices), "gpu")

    @property
    def memory_mb(self) -> int | None:
        """Sum of the devices' memory in use; None if one cannot report it."""
        each = [device.memory_mb for device in self.devices if isinstance(device, ReportsMemory)]
        known = [mb for mb in each if mb is not None]
        return sum(known) if len(known) == len(self.devices) else None

    def run(self, hu: Hounsfield, spacing_mm: tuple[float, float]) -> Answer:
        """Return the joined answers, in the order of the slices."""
        # Not strict: fewer slices than GPUs make fewer shares, and the last GPUs get none.
        work = [
            (slab, self._workers.submit(device.run, hu[slab.shown], spacing_mm))
            for device, slab in zip(self.devices, self._shares(len(hu)), strict=False)
        ]
        # All GPUs, also where one of them failed: who handles the error may close the others.
        wait([each for _, each in work])
        answers = [(slab, each.result()) for slab, each in work]
        return Answer(
            np.concatenate([answer.labels[slab.kept] for slab, answer in answers]),
            np.concatenate([answer.agreement[slab.kept] for slab, answer in answers]),
        )

    def _shares(self, count: int) -> Iterator[Slab]:
        share = -(-count // len(self.devices))
        for start in range(0, count, share):
            # At most `count` slices in a slab, so each share is exactly one.
            yield from cut(start, min(start + share, count), count, count, self.neighbours)
