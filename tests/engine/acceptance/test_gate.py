import re
from dataclasses import dataclass, field

import numpy as np
import pytest

from engine.acceptance.gate import check_device
from engine.device import Answer, Device
from engine.errors import DeviceFailed


@dataclass
class Spoilt:
    """A device that does something wrong at some batch sizes."""

    honest: Device
    wrong: int
    spoil: object
    name: str = "spoilt"
    batch: int = 4
    seen: list = field(default_factory=list)

    def run(self, hu, spacing_mm):
        self.seen.append(len(hu))
        answer = self.honest.run(hu, spacing_mm)
        return self.spoil(answer) if len(hu) == self.wrong else answer


def fail(answer):
    raise DeviceFailed("out of memory")


def shift(answer):
    return Answer(np.roll(answer.labels, 1, axis=1), answer.agreement)


def blank(answer):
    return Answer(answer.labels, answer.agreement * np.float32("nan"))


def overflow(answer):
    return Answer(answer.labels + np.uint8(7), answer.agreement)


def test_who_answers_as_the_reference_does_passes_with_figures(toy, toy_device):
    check = check_device(toy, toy_device, range(1, 5))
    assert check.passed
    assert check.batches == (1, 2, 3, 4)
    assert (check.differing_pixels, check.dice) == (0.0, {"liver": 1.0, "tumour": 1.0})
    assert check.faults == ()


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (shift, "batch 3: .*pixels differ"),
        (blank, "batch 3: agreement holds NaN"),
        (overflow, "batch 3: label 9 is not a class"),
        (fail, "batch 3: out of memory"),
    ],
)
def test_one_wrong_batch_size_is_enough_to_fail(toy, toy_device, spoil, fault):
    check = check_device(toy, Spoilt(toy_device, 3, spoil), range(1, 5))
    assert not check.passed
    assert re.search(fault, "; ".join(check.faults))


def test_every_batch_size_carries_every_slice_of_the_reference(toy, toy_device):
    device = Spoilt(toy_device, 0, shift)
    check_device(toy, device, [1, 2, 5])
    assert device.seen == [1, 1, 1, 2, 1, 5]


def test_a_check_goes_through_json_unharmed(toy, toy_device):
    check = check_device(toy, Spoilt(toy_device, 1, blank), [1, 2])
    assert check.agreement == {"liver": 1.0, "tumour": 1.0}  # the worst there is, for no number
    assert type(check).model_validate_json(check.model_dump_json()) == check


def test_progress_is_told(toy, toy_device):
    told = []
    check_device(toy, toy_device, [1, 2], lambda done, of: told.append((done, of)))
    assert told == [(0, 2), (1, 2), (2, 2)]
