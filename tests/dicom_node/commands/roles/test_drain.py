"""`hepar drain`, as far as it goes without a PostgreSQL; the rest is in `tests/system`."""

from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from dicom_node.cluster.membership import Duty, Member, SeenMember
from dicom_node.commands.roles import drain
from dicom_node.errors import BadConfiguration
from dicom_node.main import build


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """Run the command on a folder that a cluster has named."""
    monkeypatch.setenv("HEPAR_NODE__DATA", str(tmp_path))
    monkeypatch.setenv("HEPAR_JOBS__DATABASE", "postgresql://hepar@db.example.org/hepar")
    (tmp_path / "node").write_text("the-folder")

    def run(*arguments):
        return CliRunner().invoke(build(), ["drain", *arguments])

    return run


class Cluster:
    """Stands for the tables: one worker, that is drained at the second look."""

    looks = 0
    known: set[str] = set()

    def __init__(self, engine, folder):
        assert folder == "the-folder"

    def all(self):
        cls = type(self)
        cls.looks += bool(cls.known)
        duty = Duty.DRAINED if cls.looks > 1 else Duty.DRAINING if cls.known else Duty.TAKING
        member = Member("the-folder", "work-1", "work", "0.1.0", "token", "gpu1")
        return [SeenMember(member, datetime(2026, 5, 1, tzinfo=UTC), True, duty)]

    def ask(self, name):
        self.known.add(name)

    def undo(self, name):
        self.known.discard(name)


@pytest.fixture
def cluster(monkeypatch):
    @contextmanager
    def tables(url):
        yield None

    class Own(Cluster):
        known = set()

    monkeypatch.setattr(drain, "shared_tables", tables)
    monkeypatch.setattr(drain, "Membership", Own)
    monkeypatch.setattr(drain, "Drains", Own)
    return Own


def test_a_process_that_is_drained_in_time_is_a_success(asked, cluster):
    done = asked("work-1", "--wait", "60", "--json")
    assert done.exit_code == 0
    assert '"state": "drained"' in done.output
    assert cluster.known == {"work-1"}


def test_a_process_that_is_not_drained_in_time_fails(asked, cluster):
    cluster.looks = -1000
    done = asked("work-1", "--wait", "0.01")
    assert done.exit_code == 1
    assert "draining" in done.output


def test_a_process_that_ends_before_it_is_seen_drained_fails(asked, cluster, monkeypatch):
    """What it had under way waits for a process of its name, so it was not drained."""

    def ask(self, name):
        monkeypatch.setattr(cluster, "all", lambda self: [])

    monkeypatch.setattr(cluster, "ask", ask)
    done = asked("work-1", "--wait", "60", "--json")
    assert done.exit_code == 1
    assert done.output.strip() == "[]"


def test_asking_alone_and_undoing_do_not_wait(asked, cluster):
    assert asked("work-1").exit_code == 0
    assert cluster.known == {"work-1"}
    assert asked("work-1", "--undo").exit_code == 0
    assert cluster.known == set()


def test_without_a_name_the_processes_are_listed(asked, cluster):
    done = asked()
    assert done.exit_code == 0
    assert "taking work" in done.output
    assert cluster.known == set()


def test_a_name_that_nobody_has_ends_with_the_names_that_there_are(asked, cluster):
    done = asked("work-2")
    assert isinstance(done.exception, BadConfiguration)
    assert "known: work-1" in str(done.exception)
    assert done.exception.exit_code == 2


def test_without_a_cluster_there_is_nothing_to_drain(asked, tmp_path, monkeypatch):
    (tmp_path / "node").unlink()
    assert "no cluster has started in" in str(asked("work-1").exception)
    monkeypatch.delenv("HEPAR_JOBS__DATABASE")
    assert "because the job store is an SQLite file" in str(asked("work-1").exception)


def test_nothing_is_stated_of_what_a_dead_process_takes(asked, cluster, monkeypatch):
    (seen,) = cluster(None, "the-folder").all()
    monkeypatch.setattr(cluster, "all", lambda self: [replace(seen, alive=False)])
    shown = asked()
    assert "work-1" in shown.output
    assert "taking work" not in shown.output
