import threading
from dataclasses import dataclass
from time import sleep

import numpy as np
import pytest

from engine.device import Answer
from engine.devices.multi_gpu import MultiGpu
from engine.errors import DeviceFailed


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


class Failing(Sums):
    """Fails at once, while the other device computes."""

    def __init__(self, other):
        super().__init__(0)
        self.other = other

    def run(self, hu, spacing_mm):
        assert self.other.begun.wait(60)
        self.other.failing.set()
        raise DeviceFailed("an illegal address")


class Slow(Sums):
    """Ends only some time after the other device has failed."""

    def __init__(self):
        super().__init__(0)
        self.begun, self.failing, self.ended = (threading.Event() for _ in range(3))

    def run(self, hu, spacing_mm):
        self.begun.set()
        assert self.failing.wait(60)
        sleep(0.3)  # the call would be over by now if it did not wait
        self.ended.set()
        return super().run(hu, spacing_mm)


@pytest.mark.parametrize("first", [True, False])
def test_where_one_device_fails_the_call_ends_once_the_others_are_idle(first):
    """Whoever handles the error may close them, or open another one in their memory."""
    slow = Slow()
    failing = Failing(slow)
    device = MultiGpu([failing, slow] if first else [slow, failing])
    with pytest.raises(DeviceFailed, match="an illegal address"):
        device.run(np.zeros((4, 2, 2), np.float16), (1.0, 1.0))
    assert slow.ended.is_set()
