"""Who is drained, and what a process does about it."""

from datetime import timedelta

import pytest
from pydicom.uid import generate_uid
from sqlalchemy import func, update

from dicom_node.cluster.draining import Drains, drainable, follow, require_drainable
from dicom_node.cluster.membership import DEAD_S, Duty, Member, Membership
from dicom_node.cluster.tables import members
from dicom_node.errors import BadConfiguration


class Intake:
    """Records whether it takes work; `left` is what it still has."""

    def __init__(self):
        self.taking, self.left = True, 0

    def stop(self):
        self.taking = False

    def go_on(self):
        self.taking = True

    def is_empty(self):
        return self.left == 0


@pytest.fixture
def folder():
    return str(generate_uid())


@pytest.fixture
def drains(engine, folder):
    return Drains(engine, folder)


@pytest.fixture
def membership(engine, folder):
    return Membership(engine, folder)


def join(membership, name="work-1", role="work"):
    member = Member(membership.folder, name, role, "1", "token")
    membership.beat(member)
    return member


def duty(membership):
    return [each.duty for each in membership.all()]


def test_a_process_stops_when_it_is_asked_and_is_drained_once_nothing_is_left(drains, membership):
    join(membership)
    intake = Intake()
    follow(drains, "work-1", intake)
    assert (intake.taking, duty(membership)) == (True, [Duty.TAKING])
    drains.ask("work-1")
    intake.left = 1
    follow(drains, "work-1", intake)
    assert (intake.taking, duty(membership)) == (False, [Duty.DRAINING])
    intake.left = 0
    follow(drains, "work-1", intake)
    assert duty(membership) == [Duty.DRAINED]
    drains.ask("work-1")  # asked twice, it is drained all the same
    assert duty(membership) == [Duty.DRAINED]
    drains.undo("work-1")
    follow(drains, "work-1", intake)
    assert (intake.taking, duty(membership)) == (True, [Duty.TAKING])


def test_what_comes_after_all_is_seen(drains, membership):
    join(membership)
    intake = Intake()
    drains.ask("work-1")
    follow(drains, "work-1", intake)
    intake.left = 1
    follow(drains, "work-1", intake)
    assert duty(membership) == [Duty.DRAINING]


def test_only_the_one_that_was_named_is_drained(engine, drains, membership):
    join(membership)
    join(membership, "work-2")
    elsewhere = Membership(engine, str(generate_uid()))
    join(elsewhere)
    drains.ask("work-1")
    assert duty(membership) == [Duty.DRAINING, Duty.TAKING]
    assert duty(elsewhere) == [Duty.TAKING]


def test_after_a_crash_a_process_is_still_drained_and_after_its_end_it_is_not(
    engine, drains, membership
):
    before = join(membership)
    drains.ask("work-1")
    intake = Intake()
    after = Member(membership.folder, "work-1", "work", "2", "another token")
    membership.beat(after)
    with drainable(engine, after, intake):
        assert not intake.taking
    membership.leave(before)  # late, it is another process by now
    assert drains.is_asked("work-1")
    membership.leave(after)
    assert not drains.is_asked("work-1")


def test_a_store_that_is_away_ends_neither_the_process_nor_the_looking(engine, membership, caplog):
    class Broken(Intake):
        def go_on(self):
            raise RuntimeError("away")

    with drainable(engine, join(membership), Broken()):
        pass
    assert "drain: " in caplog.text


def test_what_cannot_be_drained_is_named(drains, membership):
    join(membership)
    join(membership, "web-1", "web")
    dead = join(membership, "work-2")
    with membership.engine.begin() as connection:
        last = {"beat": func.now() - timedelta(seconds=DEAD_S + 1)}
        mine = members.c.folder == dead.folder, members.c.name == dead.name
        connection.execute(update(members).where(*mine).values(last))
    found = membership.all()
    assert require_drainable(found, "work-1") == ["work-1"]
    for name in ("work-2", "work-3"):
        with pytest.raises(BadConfiguration, match=f"no live process '{name}' .*: web-1, work-1$"):
            require_drainable(found, name)
    with pytest.raises(BadConfiguration, match="web-1 takes no work; stop it at any time"):
        require_drainable(found, "web-1")


def test_a_name_without_its_number_is_all_processes_of_a_role_on_a_host(membership):
    # The last is the first of a host whose own name ends with a number.
    for name in ("receive-a-1", "receive-a-2", "receive-b-1", "receive-a-1-1"):
        join(membership, name, "receive")
    join(membership, "work-a-1")
    found = membership.all()
    assert require_drainable(found, "receive-a") == ["receive-a-1", "receive-a-2"]
    assert require_drainable(found, "receive-a-1") == ["receive-a-1"]
    assert require_drainable(found, "receive-a-1-1") == ["receive-a-1-1"]
