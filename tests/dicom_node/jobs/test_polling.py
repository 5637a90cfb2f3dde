"""Queues are looked at often while someone says that work is near, and seldom otherwise."""

import time

import pytest

from dicom_node.config.settings import Settings
from dicom_node.deliver.c_store_scu import StorePeer
from dicom_node.jobs.ledger import open_ledger
from dicom_node.jobs.polling import OFTEN_S, SELDOM_S, PollingRate
from dicom_node.jobs.state import State
from dicom_node.node.node import running_node
from dicom_node.results.phantom import write_series
from engine.phantom import make_phantom
from tests.dicom_node.node_process import Thresholds, wait_until
from tests.engine.toy_model import write_toy_model


class Looked:
    """A queue that notes how often it is to be looked at."""

    def __init__(self):
        self.every_s = []

    def set_polling_interval_sec(self, seconds):
        self.every_s.append(seconds)


@pytest.fixture
def queues():
    return [Looked(), Looked()]


def test_queues_are_looked_at_seldom_while_nobody_says_anything(queues):
    with PollingRate(linger_s=0.01).kept(queues):
        time.sleep(0.1)
    assert all(queue.every_s == [SELDOM_S] for queue in queues)


def test_who_hurries_it_makes_it_look_often_for_a_while(queues):
    pace = PollingRate(linger_s=0.01)
    with pace.kept(queues):
        for times in (1, 2):
            pace.hurry()
            wanted = [SELDOM_S, *[OFTEN_S, SELDOM_S] * times]
            wait_until(lambda: all(queue.every_s == wanted for queue in queues))  # noqa: B023


def test_each_word_makes_it_last_longer(queues):
    pace = PollingRate(linger_s=0.5)
    with pace.kept(queues):
        for _ in range(10):
            pace.hurry()
        wait_until(lambda: len(queues[0].every_s) > 1)
        assert queues[0].every_s == [SELDOM_S, OFTEN_S]


def test_it_ends_without_lingering(queues):
    pace = PollingRate(linger_s=3600)
    with pace.kept(queues):
        pace.hurry()
        wait_until(lambda: queues[1].every_s[-1] == OFTEN_S)


def test_a_node_hurries_before_a_series_is_queued_and_while_it_is_computed(tmp_path, monkeypatch):
    settings = Settings(
        node={"data": tmp_path / "data", "port": 0},
        receive={"quiet_s": 0.5, "keep_free_mb": 0},
        engine={"model": write_toy_model(tmp_path / "model")},
    )
    phantom = make_phantom(shape=(8, 48, 48), spacing_mm=(25, 8, 8), noise_hu=2)
    seen = []

    def note(pace):
        with open_ledger(settings.database_url) as ledger:
            seen.append([job.state for job in ledger.jobs()])

    monkeypatch.setattr(PollingRate, "hurry", note)
    with running_node(settings, open_device=lambda model, settings: Thresholds()) as node:
        peer = StorePeer("node", node.ae_title, *node.address)
        peer.send_many(write_series(phantom, "hurried", tmp_path / "series"))
        wait_until(lambda: [State.SEGMENTING] in seen, seconds=30)
    assert seen[0] == []
