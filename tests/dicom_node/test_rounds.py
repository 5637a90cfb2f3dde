import threading

from dicom_node.rounds import repeated
from tests.waiting import wait_until


def names():
    return {each.name for each in threading.enumerate()}


def test_work_is_repeated_until_the_block_ends():
    calls = []
    with repeated(lambda: calls.append(1), 0.01, "rounds"):
        wait_until(lambda: len(calls) > 2)
        assert "rounds" in names()
    assert "rounds" not in names()


def test_work_that_returns_true_is_the_last():
    calls = []
    with repeated(lambda: calls.append(1) or len(calls) == 2, 0.01, "rounds"):
        wait_until(lambda: "rounds" not in names())
    assert len(calls) == 2


def test_the_first_call_can_wait_and_the_end_does_not():
    calls = []
    with repeated(lambda: calls.append(1), 0.0, "rounds", first_s=3600.0):
        pass
    assert calls == []
