"""Queues are polled fast while work is near, and slowly otherwise."""

import threading
import time

import pytest
from sqlalchemy.exc import OperationalError

from dicom_node.config.settings import Settings
from dicom_node.deliver.c_store_scu import StorePeer
from dicom_node.jobs import polling as module
from dicom_node.jobs.ledger import open_ledger
from dicom_node.jobs.polling import FAST_S, SLOW_S, PollingRate
from dicom_node.jobs.state import State
from dicom_node.node.node import running_node
from dicom_node.results.phantom import write_series
from engine.phantom import make_phantom
from tests.dicom_node.node_process import Thresholds, wait_until
from tests.engine.toy_model import write_toy_model
from tests.waiting import GENEROUS_S, StoppedWhenCleared


class PolledQueue:
    """A queue that records its polling intervals."""

    def __init__(self):
        self.every_s = []

    def set_polling_interval_sec(self, seconds):
        self.every_s.append(seconds)


@pytest.fixture
def queues():
    return [PolledQueue(), PolledQueue()]


def test_queues_are_polled_slowly_while_no_work_is_near(queues):
    with PollingRate(linger_s=0.01).applied_to(queues):
        time.sleep(0.1)
    assert all(queue.every_s == [SLOW_S] for queue in queues)


def test_speeding_up_polls_fast_for_a_while(queues):
    polling = PollingRate(linger_s=0.01)
    with polling.applied_to(queues):
        for times in (1, 2):
            polling.speed_up()
            wanted = [SLOW_S, *[FAST_S, SLOW_S] * times]
            wait_until(lambda: all(queue.every_s == wanted for queue in queues))  # noqa: B023


def test_each_call_prolongs_fast_polling(queues):
    polling = PollingRate(linger_s=0.5)
    with polling.applied_to(queues):
        for _ in range(10):
            polling.speed_up()
        wait_until(lambda: len(queues[0].every_s) > 1)
        assert queues[0].every_s == [SLOW_S, FAST_S]


def test_a_store_that_is_away_does_not_end_the_changes_of_rate(queues, monkeypatch):
    monkeypatch.setattr(module, "AGAIN_S", 0.01)
    asked, note = [], queues[0].set_polling_interval_sec

    def away(seconds):
        asked.append(seconds)
        if len(asked) in (1, 2, 4):
            raise OperationalError("UPDATE", {}, ConnectionError("the store is away"))
        note(seconds)

    polling = PollingRate(linger_s=0.01)
    with polling.applied_to(queues):
        queues[0].set_polling_interval_sec = away
        polling.speed_up()
        wait_until(lambda: queues[0].every_s == [SLOW_S, FAST_S, SLOW_S])
        wait_until(lambda: queues[1].every_s[-1] == SLOW_S)


def test_it_ends_without_lingering(queues):
    polling = PollingRate(linger_s=3600)
    with polling.applied_to(queues):
        polling.speed_up()
        wait_until(lambda: queues[1].every_s[-1] == FAST_S)


def test_it_ends_when_that_comes_just_before_the_signal_of_work_is_taken(queues):
    polling = PollingRate(linger_s=3600)
    polling._work_near = StoppedWhenCleared(polling, "_ended")
    polling._work_near.set()
    thread = threading.Thread(target=polling._run, args=(queues,), daemon=True)
    thread.start()
    thread.join(GENEROUS_S)
    assert not thread.is_alive()


def test_a_node_polls_fast_before_it_queues_a_series_and_while_it_computes_it(
    tmp_path, monkeypatch
):
    settings = Settings(
        node={"data": tmp_path / "data", "port": 0},
        receive={"quiet_s": 0.5, "keep_free_mb": 0},
        engine={"model": write_toy_model(tmp_path / "model")},
    )
    phantom = make_phantom(shape=(8, 48, 48), spacing_mm=(25, 8, 8), noise_hu=2)
    seen = []

    def note(polling):
        with open_ledger(settings.database_url) as ledger:
            seen.append([job.state for job in ledger.jobs()])

    monkeypatch.setattr(PollingRate, "speed_up", note)
    with running_node(settings, open_device=lambda model, settings: Thresholds()) as node:
        peer = StorePeer("node", node.ae_title, *node.address)
        peer.send_many(write_series(phantom, "hurried", tmp_path / "series"))
        wait_until(lambda: [State.SEGMENTING] in seen, seconds=30)
    assert seen[0] == []
