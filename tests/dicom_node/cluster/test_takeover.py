"""Whose work is taken over, and when."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from pydicom.uid import generate_uid
from sqlalchemy import func, update
from sqlalchemy.exc import OperationalError

from dicom_node.cluster import takeover
from dicom_node.cluster.draining import Drains
from dicom_node.cluster.membership import DEAD_S, Duty, Member, Membership, SeenMember
from dicom_node.cluster.tables import members
from dicom_node.cluster.takeover import OlderWork, TakeOver, alone, moves_in, served


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


def seen(role, steps, duty=Duty.TAKING, alive=True):
    member = Member("folder", f"{role}-{steps}", role, "1", "token")
    return SeenMember(member, datetime.now(UTC), alive, duty, steps)


def test_steps_are_served_by_those_that_take_work_of_a_kind():
    found = [
        seen("work", "2"),
        seen("work", "3 on folder"),
        seen("work", "4", Duty.DRAINING),
        seen("deliver", "5"),
        seen("receive", "6"),
    ]
    assert served(found, apart=False) == {"segment": {2, 3}, "deliver": {2, 3, 5}}
    assert served(found, apart=True) == {"segment": {2, 3}, "deliver": {5}}


def test_a_process_has_the_steps_that_it_notes_and_those_before_unless_it_does(membership):
    member = Member(membership.folder, "work-1", "work", "1", "first")
    membership.beat(member)
    assert [each.steps for each in membership.all()] == ["2"]
    membership.note_steps(member, "3")
    membership.note_steps(member, "4")
    assert [each.steps for each in membership.all()] == ["4"]
    membership.forget_steps(replace(member, token="second"))
    assert [each.steps for each in membership.all()] == ["4"]
    # An older release in its place, which notes nothing.
    membership.beat(replace(member, token="second"))
    assert [each.steps for each in membership.all()] == ["2"]


class Taken:
    """Stands for what moves work: to which version, and what others are served."""

    def __init__(self, monkeypatch):
        self.taken, self.finished, self.left_over = [], 0, 0
        monkeypatch.setattr(takeover, "take_older", self.take)
        monkeypatch.setattr(takeover, "finish_interrupted", self.finish)
        monkeypatch.setattr(takeover, "queue_left_over", self.queue)

    def take(self, work, version, numbers, kind):
        assert work.finds_attributes
        self.taken.append((version, sorted(numbers), kind))

    def finish(self, work, version):
        self.finished += 1

    def queue(self, version):
        self.left_over += 1


def test_older_work_is_taken_by_a_process_that_takes_work_and_only_with_the_lock(
    membership, monkeypatch
):
    moves = Taken(monkeypatch)
    old = Member(membership.folder, "work-1", "work", "1", "a")
    new = Member(membership.folder, "work-2", "work", "2", "b")
    membership.beat(old)  # notes no steps: of a release before that
    membership.beat(new)
    membership.note_steps(new, "3")
    now = [0.0]
    rounds = OlderWork(membership, "3", clock=lambda: now[0])
    rounds.round()
    assert moves.taken == [("3", [2, 3], "segment"), ("3", [2, 3], "deliver")]
    silence(membership, old, DEAD_S + 1)
    rounds.round()  # it may be the store that was away
    assert moves.taken[2:] == moves.taken[:2]
    now[0] = DEAD_S
    rounds.round()
    assert moves.taken[4:] == [("3", [3], "segment"), ("3", [3], "deliver")]
    Drains(membership.engine, membership.folder).ask(new.name)
    rounds.round()
    assert len(moves.taken) == 6
    with alone(membership.engine, moves_in(membership.folder)):
        rounds.round()
    assert (moves.finished, moves.left_over) == (4, 1)


def test_an_error_ends_no_round_and_begins_the_wait_anew(membership, monkeypatch):
    moves = Taken(monkeypatch)
    monkeypatch.setattr(takeover, "finish_interrupted", lambda work, version: 1 / 0)
    now = [0.0]
    rounds = OlderWork(membership, "3", clock=lambda: now[0])
    rounds.round()
    assert rounds._seen_since_s is None
    assert moves.taken == []
