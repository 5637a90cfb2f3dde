"""Whose work is taken over, and when."""

from datetime import timedelta
from types import SimpleNamespace

import pytest
from pydicom.uid import generate_uid
from sqlalchemy import func, update
from sqlalchemy.exc import OperationalError

from dicom_node.cluster import takeover
from dicom_node.cluster.membership import DEAD_S, Member, Membership
from dicom_node.cluster.tables import members
from dicom_node.cluster.takeover import TakeOver


class Store:
    """Stands for DBOS: what each process has under way."""

    def __init__(self):
        self.under_way, self.resumed = {}, []

    def list_workflows(self, *, name, status, executor_id):
        assert (name, status) == (["segment", "deliver"], "PENDING")
        return self.under_way.get(executor_id, [])

    def resume_workflow(self, name, *, queue_name):
        self.resumed.append((name, queue_name))


@pytest.fixture
def store(monkeypatch):
    store = Store()
    monkeypatch.setattr(takeover, "DBOS", store)
    return store


@pytest.fixture
def membership(engine):
    return Membership(engine, str(generate_uid()))


def join(membership, store, name, job):
    member = Member(membership.folder, name, "work", "1", "token")
    membership.beat(member)
    workflow = SimpleNamespace(workflow_id=job, queue_name="segment on it", attributes=None)
    store.under_way[member.executor] = [workflow]
    return member


def silence(membership, member, seconds):
    last = {"beat": func.now() - timedelta(seconds=seconds)}
    mine = members.c.folder == member.folder, members.c.name == member.name
    with membership.engine.begin() as connection:
        connection.execute(update(members).where(*mine).values(last))


def test_the_work_of_the_dead_goes_back_to_its_queue_and_no_other(membership, store):
    dead = join(membership, store, "dead", "job-1")
    join(membership, store, "alive", "job-2")
    silence(membership, dead, DEAD_S + 1)
    now = [0.0]
    rounds = TakeOver(membership, clock=lambda: now[0])
    rounds.round()
    assert store.resumed == []  # the heartbeats were not seen for long enough
    now[0] = DEAD_S
    rounds.round()
    assert store.resumed == [("job-1", "segment on it")]


def test_one_that_is_late_is_not_dead(membership, store):
    late = join(membership, store, "late", "job-1")
    silence(membership, late, DEAD_S - 5)
    now = [0.0]
    rounds = TakeOver(membership, clock=lambda: now[0])
    for now[0] in (0.0, DEAD_S + 1):
        rounds.round()
    assert store.resumed == []


def test_after_an_outage_of_the_store_nobody_is_dead_before_its_next_heartbeat(
    membership, store, monkeypatch
):
    other = join(membership, store, "other", "job-1")
    now = [0.0]
    rounds = TakeOver(membership, clock=lambda: now[0])
    rounds.round()
    with monkeypatch.context() as away:
        away.setattr(Membership, "all", _refuse)
        now[0] = 100.0
        rounds.round()
    silence(membership, other, 100)
    now[0] = 101.0
    rounds.round()
    membership.beat(other)
    now[0] = 200.0
    rounds.round()
    assert store.resumed == []


def _refuse(self):
    raise OperationalError("SELECT", {}, ConnectionError("the store is away"))
