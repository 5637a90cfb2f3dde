from dataclasses import dataclass

import numpy as np
import pytest

from engine.device import Answer
from engine.devices.multi_gpu import MultiGpu


@dataclass
class Sums:
    """Answers each slice with the sum of its first pixel and its neighbours' in the same call."""

    neighbours: int
    name: str = "sums"
    batch: int = 4

    def run(self, hu, spacing_mm):
        last, steps = len(hu) - 1, range(-self.neighbours, self.neighbours + 1)
        beside = [np.clip(np.arange(len(hu)) + step, 0, last) for step in steps]
        sums = np.sum([hu[index] for index in beside], axis=0)
        agreement = np.broadcast_to(sums[:, :1, :1], (len(hu), 2, 2))
        return Answer(sums.astype(np.uint8), agreement.astype(np.float32))


@pytest.mark.parametrize("neighbours", [0, 1, 2, 3])
@pytest.mark.parametrize("devices", [1, 2, 3])
@pytest.mark.parametrize("slices", [1, 2, 3, 5, 7, 10, 25])
def test_several_devices_answer_as_one(slices, devices, neighbours):
    hu = np.random.default_rng(slices).integers(0, 30, (slices, 2, 2)).astype(np.float16)
    found = MultiGpu([Sums(neighbours)] * devices).run(hu, (1.0, 1.0))
    expected = Sums(neighbours).run(hu, (1.0, 1.0))
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_array_equal(found.agreement, expected.agreement)
