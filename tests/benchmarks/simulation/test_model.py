"""The simulation against what queueing theory states."""

import pytest

from tests.benchmarks.simulation.model import Costs, Load, Plant, all_at_once, busiest_hour, least

NOTHING = dict.fromkeys(Costs.__dataclass_fields__, 0.0)
ONE = Plant(gateways=1, workers=1, cores=1, store_cores=1, at_once=1)


def test_series_wait_for_a_device_as_long_as_the_formula_states():
    """M/D/1 (Pollaczek and Khinchine): the mean wait is s use / (2 (1 - use))."""
    costs = Costs(**NOTHING | {"gpu_series_s": 6.0})
    load = Load(per_day=4000)
    outcome = busiest_hour(load, ONE, costs, seconds=100_000)
    use = load.peak_per_s * 6.0
    assert use == pytest.approx(0.59, abs=0.01)
    assert outcome.use["GPUs"] == pytest.approx(use, rel=0.05)
    mean = sum(outcome.seconds) / len(outcome.seconds)
    assert mean == pytest.approx(6.0 + 6.0 * use / (2 * (1 - use)), rel=0.15)


def test_urgent_series_go_before_others():
    costs = Costs(**NOTHING | {"gpu_series_s": 9.0})
    outcome = busiest_hour(Load(per_day=4000), ONE, costs, seconds=20_000)
    assert outcome.percentiles(urgent=True)[1] < outcome.percentiles()[1] / 2


def test_a_slice_costs_its_time_at_each_part():
    costs = Costs(1.0, 10.0, 2.0, 0.5, 3.0, 0.25, 4.0, 5.0)
    (end,) = all_at_once(1, 8, ONE, costs).ends
    assert end == pytest.approx(8 + 10 + 2 + 8 * 0.5 + 3 + 8 * 0.25 + 4 + 5)


def test_workers_are_linear_until_the_processors_are_all_taken():
    costs = Costs(**NOTHING | {"worker_series_s": 1.0, "gpu_series_s": 9.0})

    def last(workers):
        plant = Plant(1, workers, cores=2, store_cores=1, at_once=1)
        return all_at_once(20 * workers, 0, plant, costs).ends[-1]

    assert last(8) == pytest.approx(last(1), rel=0.1)
    assert last(40) > 1.9 * last(1)


@pytest.mark.parametrize("number", [1, 2, 3, 7, 64, 100])
def test_the_least_number_that_is_enough_is_found(number):
    assert least(lambda tried: tried >= number) == number
