"""Which of several processes computes with the shadow model."""

import time
from contextlib import ExitStack, contextmanager
from functools import partial
from types import SimpleNamespace

import pytest

from dicom_node.data_folder import DataFolder
from dicom_node.jobs.records import SeriesTask
from dicom_node.node import shadowing
from dicom_node.node.shadowing import Shadow, in_turn, status_of_cluster
from dicom_node.shadow.work_register import OPENING, WorkRegister
from dicom_node.web.view import ShadowStatus
from tests.waiting import wait_until


class Runner:
    """Notes in `at_work` that it computes."""

    def __init__(self, name, at_work):
        self.name, self.at_work = name, at_work

    @contextmanager
    def working(self):
        self.at_work.append(self.name)
        yield
        self.at_work.remove(self.name)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(shadowing, "LOOK_S", 0.02)


def test_of_two_processes_one_computes_and_the_other_once_that_has_ended(tmp_path):
    data, at_work = DataFolder(tmp_path), []
    with ExitStack() as second:
        with in_turn(Shadow(runner=Runner("first", at_work)), data):
            wait_until(lambda: at_work == ["first"])
            second.enter_context(in_turn(Shadow(runner=Runner("second", at_work)), data))
            time.sleep(0.2)
            assert at_work == ["first"]
        wait_until(lambda: at_work == ["second"])
    assert at_work == []


def test_without_a_shadow_what_waits_for_an_earlier_one_is_given_up(tmp_path):
    data, task = DataFolder(tmp_path), SeriesTask("1.2", "1.2.3", ())
    register = WorkRegister(data.shadow)
    register.add("job", "ab", "toy 1", task)
    with in_turn(Shadow(trouble="unreadable here"), data):
        time.sleep(0.1)
        assert len(register.due("ab")) == 1  # another process may compute it
    with in_turn(Shadow(), data):
        wait_until(lambda: not register.due("ab"))
    assert "shadow no longer" in register.of("job")[0].reason


def test_the_page_of_a_cluster_names_why_a_worker_cannot_open_the_shadow(tmp_path):
    data, model = DataFolder(tmp_path), SimpleNamespace(name="toy", version="2", digest="ab")
    shown = partial(status_of_cluster, Shadow(model), data)
    assert shown() == ShadowStatus("toy 2", "a worker's device", "")
    register = WorkRegister(data.shadow)
    register.add(OPENING, "ab", "toy 2", None)
    register.finish(OPENING, "ab", "no memory")
    assert shown().trouble == "no memory"
    data.shadow.write_bytes(b"no database" * 1000)
    assert "cannot be used" in shown().trouble
    assert status_of_cluster(Shadow(), data) is None
