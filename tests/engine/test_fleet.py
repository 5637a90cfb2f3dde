import pytest

from engine import fleet
from engine.errors import DeviceFailed, StalePlan
from engine.fleet import Fleet, Opener, openers


class Named:
    batch = 1

    def __init__(self, name):
        self.name = name


class Switch:
    """An opener that opens what it is told to, and counts."""

    def __init__(self, name, opens=True):
        self.name, self.opens, self.mark, self.count = name, opens, 0, 0

    def open(self):
        self.count += 1
        if not self.opens:
            raise StalePlan("built for another GPU")
        return Named(f"{self.name} {self.mark}")

    def opener(self):
        return Opener(self.name, self.open, lambda: self.mark)


@pytest.fixture
def fast():
    return Switch("fast")


@pytest.fixture
def slow():
    return Switch("slow")


@pytest.fixture
def devices(fast, slow):
    return Fleet([fast.opener(), slow.opener()])


def test_the_first_in_order_serves_and_is_opened_once(devices, fast, slow):
    assert {devices.device().name for _ in range(3)} == {"fast 0"}
    assert (fast.count, slow.count) == (1, 0)


def test_where_the_first_cannot_the_next_serves_and_the_log_says_why(devices, fast, caplog):
    fast.opens = False
    with caplog.at_level("INFO"):
        assert devices.device().name == "slow 0"
    assert "not on fast: built for another GPU" in caplog.text
    assert "on slow 0" in caplog.text


def test_another_plan_is_taken_up_by_the_next_job(devices, fast, slow):
    first = devices.device()
    fast.mark = 1
    assert devices.device().name == "fast 1"
    assert first.name == "fast 0"  # the job that had it goes on with it
    fast.mark, fast.opens = 2, False
    assert devices.device().name == "slow 0"
    fast.mark, fast.opens = 3, True
    assert devices.device().name == "fast 3"


def test_what_serves_is_not_opened_again_because_another_one_changed(devices, fast, slow):
    fast.opens = False
    devices.device()
    fast.mark = 1
    devices.device()
    assert (fast.count, slow.count) == (2, 1)


def test_a_device_that_fails_rests_while_the_next_serves(devices, fast, monkeypatch):
    devices.leave(devices.device(), DeviceFailed("out of memory"))
    assert [devices.device().name for _ in range(2)] == ["slow 0", "slow 0"]
    assert fast.count == 1
    later = fleet.monotonic() + fleet.REST_S + 1
    monkeypatch.setattr(fleet, "monotonic", lambda: later)
    assert devices.device().name == "fast 0"


def test_a_device_that_failed_is_tried_at_once_with_another_plan(devices, fast):
    devices.leave(devices.device(), DeviceFailed("out of memory"))
    devices.device()
    fast.mark = 1
    assert devices.device().name == "fast 1"


def test_the_last_device_to_fail_fails_the_job_and_not_the_node(devices):
    devices.leave(devices.device(), DeviceFailed("one"))
    with pytest.raises(DeviceFailed, match="two"):
        devices.leave(devices.device(), DeviceFailed("two"))
    assert devices.device().name == "fast 0"


def test_where_none_can_serve_each_says_why(devices, fast, slow):
    fast.opens = slow.opens = False
    with pytest.raises(DeviceFailed, match="fast: built for another GPU; slow: built"):
        devices.device()


def test_without_plans_the_processor_serves(toy, tmp_path):
    assert Fleet(openers(toy, tmp_path / "absent", threads=1)).device().name == "OpenVINO CPU"
