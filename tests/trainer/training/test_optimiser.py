"""The running average of the weights."""

import pytest
import torch

from trainer.training.optimiser import running_average


def average(decay: float, warm_up: bool, steps: int) -> float:
    """The average after a jump from 0 to 1 that has lasted `steps` steps."""
    averaged, update = torch.zeros(1), running_average(decay, warm_up)
    for step in range(1, steps + 1):
        update([averaged], [torch.ones(1)], torch.tensor(step))
    return float(averaged)


def test_an_average_keeps_its_part_at_every_step():
    assert average(0.9, False, 5) == pytest.approx(1 - 0.9**5, rel=1e-5)


def test_an_average_that_warms_up_forgets_the_start_of_a_short_run():
    kept = 1.0
    for step in range(1, 51):
        kept *= (1 + step) / (10 + step)
    assert average(0.985, True, 50) == pytest.approx(1 - kept, rel=1e-5)
    assert kept < 1e-5 < 0.4 < 0.985**50


def test_the_decay_of_an_average_that_warms_up_stops_at_the_recipes():
    averaged = torch.zeros(1)
    running_average(0.9, True)([averaged], [torch.ones(1)], torch.tensor(1000))
    assert float(averaged) == pytest.approx(0.1)
