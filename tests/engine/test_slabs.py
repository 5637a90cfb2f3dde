from dataclasses import dataclass, field

import numpy as np
import pytest

from engine.acceptance.gate import check_device
from engine.device import Answer
from engine.segmentation.segment import segment
from engine.serving.turns import DeviceQueue
from engine.slabs import cut, runs


@pytest.mark.parametrize("neighbours", [0, 1, 3])
@pytest.mark.parametrize("most", [1, 4, 9])
@pytest.mark.parametrize(("first", "stop"), [(0, 11), (3, 4), (5, 11)])
def test_every_slice_is_answered_once_with_all_of_its_neighbours(neighbours, most, first, stop):
    answered = []
    for slab in cut(first, stop, 11, most, neighbours):
        shown = range(11)[slab.shown]
        assert len(shown) <= max(most, 2 * neighbours + 1)
        assert shown[slab.kept] == range(11)[slab.place]
        for index in shown[slab.kept]:
            answered.append(index)
            assert set(range(11)[max(index - neighbours, 0) : index + neighbours + 1]) <= set(shown)
    assert answered == list(range(first, stop))


def test_what_fits_into_one_call_is_one_call():
    assert [slab.place for slab in cut(0, 7, 7, 7, 3)] == [slice(0, 7)]


def test_slices_that_follow_one_another_are_a_run():
    assert list(runs(np.array([0, 1, 2, 5, 7, 8]))) == [(0, 3), (5, 6), (7, 9)]
    assert list(runs(np.array([], np.intp))) == []


@dataclass
class Suspicious:
    """Marks a slice only where the slices beside it are those of the volume."""

    neighbours: int = 2
    batch: int = 4
    name: str = "suspicious"
    shown: list = field(default_factory=list)

    def run(self, hu, spacing_mm):
        self.shown.append(len(hu))
        own = hu[:, 0, 0]
        told = np.zeros(len(hu), bool)
        for index, value in enumerate(own):
            beside = np.arange(index - self.neighbours, index + self.neighbours + 1)
            steps = np.arange(-self.neighbours, self.neighbours + 1)
            wanted = (value + steps).clip(0, COUNT - 1)
            told[index] = np.array_equal(own[beside.clip(0, len(own) - 1)], wanted)
        labels = np.broadcast_to(told[:, None, None], hu.shape).astype(np.uint8)
        return Answer(labels, np.zeros((len(hu), 2, 2), np.float32))


COUNT = 60


@pytest.fixture
def numbered(make_volume):
    """Slices whose Hounsfield units are their number, high enough for a search."""
    hu = np.arange(COUNT)[:, None, None] * np.ones((1, 12, 12), int)
    return make_volume(hu, (5.0, 4.0, 4.0))


def test_a_volume_is_shown_so_that_every_slice_sees_those_beside_it(numbered):
    device = Suspicious()
    result = segment(numbered, device)
    assert result.label_map.labels.all()
    assert result.slices_computed == COUNT
    assert max(device.shown) <= device.batch + 2 * device.neighbours


def test_a_device_that_is_shared_still_says_what_it_depends_on(numbered):
    shared = DeviceQueue().on(Suspicious(), urgent=False)
    assert segment(numbered, shared).label_map.labels.all()


def test_the_gate_asks_for_parts_with_their_neighbours(toy, toy_device):
    class Beside:
        """The toy, and nothing where it is shown fewer slices than an answer takes."""

        name, batch, neighbours = "beside", 8, 1

        def run(self, hu, spacing_mm):
            assert len(hu) >= 2
            return toy_device.run(hu, spacing_mm)

    assert check_device(toy, Beside(), (1, 2, 3, 9)).passed
