from itertools import islice

import pytest

from dicom_node.jobs.backoff import Backoff


def test_pauses_double_up_to_the_longest():
    assert list(islice(Backoff(5, 60, 1e6).pauses(), 6)) == [5, 10, 20, 40, 60, 60]


@pytest.mark.parametrize("hours", [1, 24, 72])
def test_pauses_outlast_an_archive_that_is_away_for(hours):
    assert sum(Backoff().pauses()) > hours * 3600


def test_patience_ends():
    assert sum(Backoff(1, 10, 100).pauses()) < 111


@pytest.mark.parametrize(("give_up_s", "pauses"), [(30, 3), (30.5, 4)])
def test_the_pauses_end_once_they_together_reach_the_stated_time(give_up_s, pauses):
    assert list(islice(Backoff(10, 10, give_up_s).pauses(), 9)) == [10] * pauses
