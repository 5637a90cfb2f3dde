"""What is kept of fetched files, and what goes."""

import os
from datetime import UTC, datetime, timedelta

import pytest

from dicom_node.fetched.cache import Cache
from dicom_node.receive.header import SeriesKey

HOUR = timedelta(hours=1)
OLD_S = 1_000_000_000


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "fetched", 10_000, HOUR)


def fill(cache, number, size=4_000):
    """Use a series of some bytes."""
    with cache.series(SeriesKey("1.2", f"1.2.{number}")) as folder:
        (folder / "1.dcm").write_bytes(bytes(size))
        os.utime(folder / "1.dcm", (OLD_S, OLD_S))  # as the original has it
    os.utime(folder, (OLD_S + number, OLD_S + number))
    return folder


def test_what_was_used_longest_ago_goes_first(cache):
    cache.keep = timedelta(days=36500)
    first, second, third = (fill(cache, number) for number in (1, 2, 3))
    fill(cache, 4, size=0)
    assert [each.exists() for each in (first, second, third)] == [False, True, True]
    with cache.series(SeriesKey("1.2", "1.2.2")):
        pass
    fill(cache, 5)
    fill(cache, 6, size=0)
    assert [each.exists() for each in (second, third)] == [True, False]


def test_what_is_in_use_stays_however_large(cache):
    with cache.series(SeriesKey("1.2", "1.2.1")) as folder:
        (folder / "1.dcm").write_bytes(bytes(50_000))
        cache.trim(datetime.now(UTC) + 10 * HOUR)
        assert (folder / "1.dcm").exists()
    assert not folder.exists()
    assert not folder.parent.exists()


def test_what_was_not_used_for_long_goes(cache):
    with cache.series(SeriesKey("1.2", "1.2.1")) as folder:
        (folder / "1.dcm").write_bytes(b"x")
    with cache.result("job.dcm") as file:
        file.write_bytes(b"x")
        os.utime(file, (OLD_S, OLD_S))
    now = datetime.now(UTC)
    cache.trim(now + 0.9 * HOUR)
    assert folder.exists()
    assert file.exists()
    cache.trim(now + 1.1 * HOUR)
    assert not folder.exists()
    assert not file.exists()


def test_the_use_of_a_result_leaves_the_time_by_which_it_is_known(cache):
    with cache.result("job.dcm") as file:
        file.write_bytes(b"x")
        os.utime(file, ns=(1, OLD_S))
    assert file.stat().st_mtime_ns == OLD_S


def test_what_is_being_fetched_stays(cache):
    part = cache.data.results / "job.dcm.x.part"
    part.write_bytes(bytes(50_000))
    cache.trim(datetime.now(UTC) + 10 * HOUR)
    assert part.exists()


def test_what_a_killed_process_left_half_written_goes(tmp_path):
    cache = Cache(tmp_path, 1, HOUR)
    (cache.data.results / "job.dcm.x.part").touch()
    with cache.series(SeriesKey("1.2", "1.3")) as folder:
        (folder / "1.dcm.x.part").touch()
        Cache(tmp_path, 1, HOUR)
        assert list(folder.iterdir()) == []
    assert list(cache.data.results.iterdir()) == []
