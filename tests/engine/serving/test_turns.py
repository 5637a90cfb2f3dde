import threading
import time

import numpy as np
import pytest

from engine.device import Answer
from engine.serving.turns import BETWEEN_S, DeviceQueue, TurnAbandoned

HU = np.zeros((1, 2, 2), np.float16)


class Slow:
    """A device that must not be used twice at once, and notes who used it."""

    name, batch = "slow", 4

    def __init__(self):
        self.used, self.inside, self.fails = [], 0, False

    def run(self, hu, spacing_mm):
        self.inside += 1
        assert self.inside == 1
        time.sleep(0.005)
        self.used.append(spacing_mm)
        self.inside -= 1
        if self.fails:
            raise RuntimeError("device")
        return Answer(hu.astype(np.uint8), np.ones((len(hu), 2, 2), np.float32))


@pytest.fixture
def slow():
    return Slow()


def job(turns, slow, name, batches, *, urgent=False):
    """Start a job of so many batches, under a name that the device sees as spacing."""
    device = turns.on(slow, urgent=urgent)
    thread = threading.Thread(target=lambda: [device.run(HU, name) for _ in range(batches)])
    thread.start()
    return thread


def test_the_device_answers_as_it_does_without_turns(slow):
    turn = DeviceQueue().on(slow, urgent=False)
    assert (turn.name, turn.batch) == ("slow", 4)
    assert turn.run(HU, "a").labels.shape == HU.shape


def test_jobs_take_turns(slow):
    turns = DeviceQueue()
    for thread in [job(turns, slow, name, 10) for name in "ab"]:
        thread.join()
    changes = sum(before != after for before, after in zip(slow.used, slow.used[1:], strict=False))
    assert sorted(slow.used) == ["a"] * 10 + ["b"] * 10
    assert changes >= 10


def test_an_urgent_job_goes_first_to_its_end(slow):
    turns = DeviceQueue()
    routine = [job(turns, slow, name, 10) for name in "ab"]
    time.sleep(0.03)
    urgent = job(turns, slow, "!", 10, urgent=True)
    urgent.join()
    first, last = slow.used.index("!"), len(slow.used) - 1
    assert set(slow.used[first : last + 1]) == {"!"}
    for thread in routine:
        thread.join()
    assert len(slow.used) == 30


def test_an_urgent_job_goes_before_those_that_wait_already(slow):
    turns = DeviceQueue()
    with turns.turn(urgent=False):
        threads = [job(turns, slow, "a", 1)]
        time.sleep(0.02)
        threads.append(job(turns, slow, "!", 1, urgent=True))
        time.sleep(0.02)
    for thread in threads:
        thread.join()
    assert slow.used == ["!", "a"]


def test_nobody_comes_between_the_batches_of_an_urgent_job(slow):
    turns = DeviceQueue()
    urgent = turns.on(slow, urgent=True)
    urgent.run(HU, "!")
    routine = job(turns, slow, "a", 1)
    time.sleep(BETWEEN_S / 4)  # it gets its next batch together
    urgent.run(HU, "!")
    routine.join()
    assert slow.used == ["!", "!", "a"]


def test_a_turn_ends_when_the_device_fails(slow):
    turns = DeviceQueue()
    slow.fails = True
    with pytest.raises(RuntimeError):
        turns.on(slow, urgent=False).run(HU, "a")
    slow.fails = False
    turns.on(slow, urgent=False).run(HU, "b")
    assert slow.used == ["a", "b"]


def background(turns, slow, batches):
    """Start work in the background; what it is called shows in what the device notes."""
    device = turns.behind(slow, lambda: False)
    thread = threading.Thread(target=lambda: [device.run(HU, "behind") for _ in range(batches)])
    thread.start()
    return thread


def test_work_in_the_background_waits_while_a_job_has_the_device_reserved(slow):
    turns = DeviceQueue()
    with turns.reserved():
        thread = background(turns, slow, 3)
        turns.on(slow, urgent=False).run(HU, "job")
        thread.join(3 * BETWEEN_S)
        assert slow.used == ["job"]
    thread.join()
    assert slow.used == ["job", "behind", "behind", "behind"]


def test_work_in_the_background_goes_behind_every_job_that_waits(slow):
    turns = DeviceQueue()
    with turns.turn(urgent=False):
        thread = background(turns, slow, 2)
        jobs = [job(turns, slow, "job", 5), job(turns, slow, "job", 5, urgent=True)]
    for each in (thread, *jobs):
        each.join()
    assert slow.used == ["job"] * 10 + ["behind"] * 2


def test_work_in_the_background_that_is_abandoned_waits_no_longer(slow):
    turns = DeviceQueue()
    with turns.reserved(), pytest.raises(TurnAbandoned):
        turns.behind(slow, lambda: True).run(HU, "behind")
    assert slow.used == []
