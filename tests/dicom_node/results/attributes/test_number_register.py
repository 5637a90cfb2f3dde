"""Numbers of series in a study: free ones, each kept, in memory and in a file."""

import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from dicom_node.results.attributes.number_register import NumbersOfRun, StoredNumbers


@pytest.fixture(params=["memory", "file"])
def register(request, tmp_path):
    return NumbersOfRun() if request.param == "memory" else StoredNumbers(tmp_path / "numbers")


def test_the_first_free_number_is_taken(register):
    assert register.take("1.1", "a", [5, 6, 7]) == 5
    assert register.take("1.1", "b", [6, 7, 5]) == 6
    assert register.take("1.1", "c", [5, 6, 7]) == 7


def test_a_series_keeps_its_number(register):
    register.take("1.1", "a", [5])
    assert register.take("1.1", "b", [5, 6]) == 6
    assert register.take("1.1", "b", [5, 6]) == 6
    assert register.take("1.1", "a", [4]) == 5


def test_studies_do_not_share_numbers(register):
    assert {register.take(study, "a", [5, 6]) for study in ("1.1", "1.2")} == {5}


def test_a_range_without_a_free_number_begins_anew(register):
    for series in "ab":
        register.take("1.1", series, [5, 6])
    assert register.take("1.1", "c", [5, 6]) == 5


def test_threads_that_want_one_number_get_one_each(register):
    with ThreadPoolExecutor(8) as threads:
        work = [threads.submit(register.take, "1.1", str(each), range(99)) for each in range(24)]
        numbers = {each.result() for each in work}
    assert numbers == set(range(24))


def test_a_file_outlives_its_reader_and_is_the_node_s_alone(tmp_path):
    path = tmp_path / "numbers"
    StoredNumbers(path).take("1.1", "a", [5])
    assert StoredNumbers(path).take("1.1", "b", [5, 6]) == 6
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
