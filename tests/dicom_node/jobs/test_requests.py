"""Requests of gateways: each is carried out once, and what is not old enough stays."""

from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from dicom_node.jobs import requests
from dicom_node.jobs.requests import Requests, ask_for_redo, ask_to_forget, carrying_out
from dicom_node.jobs.state import State
from tests.waiting import wait_until

NOW = datetime(2030, 5, 1, tzinfo=UTC)
ROWS = timedelta(days=10)


@dataclass(frozen=True)
class Job:
    """What of a job is looked at."""

    id: str
    state: State = State.DONE
    finished: datetime | None = NOW - timedelta(days=20)
    study_uid: str = "1.1"
    series_uid: str = "1.2"


class Store:
    """Stands for DBOS and the ledger: jobs with their attributes."""

    def __init__(self):
        self.listed, self.attributes, self.done_again = {}, {}, []

    def add(self, job):
        self.listed[job.id] = job
        self.attributes.setdefault(job.id, {})
        return job

    def update_workflow_attributes(self, name, attributes, *, merge):
        assert merge
        self.attributes[name] |= attributes

    def list_workflows(self, *, attributes, **_):
        return [
            SimpleNamespace(workflow_id=name, attributes=dict(own))
            for name, own in self.attributes.items()
            if name in self.listed and attributes.items() <= own.items()
        ]

    def find(self, name):
        return self.listed[name]

    def jobs(self):
        return [*self.listed.values()]

    def redo(self, job):
        self.done_again.append(job.id)
        self.add(replace(job, state=State.WAITING, finished=None))
        return True

    def forget(self, job):
        del self.listed[job.id]


@pytest.fixture
def store(monkeypatch):
    store = Store()

    @contextmanager
    def opened(url):
        yield store

    monkeypatch.setattr(requests, "DBOS", store)
    monkeypatch.setattr(requests, "open_ledger", opened)
    return store


@pytest.fixture
def numbers():
    return set()


@pytest.fixture
def carry_out(store, numbers):
    return Requests("url", ROWS, numbers.update, lambda: NOW).round


@pytest.mark.parametrize("job", [Job("a"), Job("a", State.HELD, None)])
def test_a_job_is_done_again_once_for_each_request(store, carry_out, job):
    store.add(job)
    carry_out()
    assert store.done_again == []
    ask_for_redo(job)
    ask_for_redo(job)
    carry_out()
    carry_out()
    assert store.done_again == ["a"]
    ask_for_redo(store.add(replace(job, state=State.DONE, finished=NOW)))
    carry_out()
    assert store.done_again == ["a", "a"]


def test_a_request_that_a_crash_left_after_it_was_carried_out_is_not_once_more(store, carry_out):
    ask_for_redo(store.add(Job("a")))
    before = dict(store.attributes["a"])
    carry_out()
    store.attributes["a"] = before
    store.add(Job("a", finished=NOW))
    carry_out()
    assert store.done_again == ["a"]


def test_only_what_was_kept_long_enough_is_forgotten_whatever_a_gateway_asks(store, carry_out):
    jobs = [
        Job("old"),
        Job("new", finished=NOW - timedelta(days=9)),
        Job("at work", State.SEGMENTING, None),
    ]
    for job in jobs:
        ask_to_forget(store.add(job))
    carry_out()
    assert [*store.listed] == ["new", "at work"]


def test_series_numbers_of_a_study_go_with_its_last_job(store, carry_out, numbers):
    for name in ("a", "b"):
        store.add(Job(name))
        ask_to_forget(store.listed["a"])
    carry_out()
    assert numbers == set()
    ask_to_forget(store.listed["b"])
    carry_out()
    assert numbers == {"1.1"}


def test_rounds_go_on_after_an_error_and_leave_the_work_to_who_is_at_it(monkeypatch, caplog):
    monkeypatch.setattr(requests, "ROUND_S", 0.01)
    turns, rounds = iter([True, False, True]), []

    class Failing:
        def round(self):
            rounds.append(1)
            raise ValueError("away")

    with carrying_out(Failing(), lambda: nullcontext(next(turns, False))):
        wait_until(lambda: len(rounds) == 2)
    assert caplog.text.count("requests: ") == 2
