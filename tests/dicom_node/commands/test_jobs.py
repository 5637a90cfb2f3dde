"""`hepar jobs` on a store without a node: what the commands print and record."""

import json
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from dicom_node.errors import UnknownJob
from dicom_node.jobs.state import Job, State
from dicom_node.main import build

MOMENT = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


class Store:
    """Jobs by their ids; what was done to them is noted."""

    def __init__(self):
        self.known = {}
        self.done = []

    def add(self, name, state, paths=()):
        self.known[name] = Job(
            id=name,
            study_uid="1.2",
            series_uid=f"1.2.{len(self.known)}",
            paths=tuple(paths),
            queue="segment on x",
            urgent=False,
            created=MOMENT,
            finished=MOMENT,
            state=state,
            reason="single slice" if state is State.REFUSED else "",
            outcome=None,
            deliveries=(),
        )

    def queued(self, folder):
        return SimpleNamespace(waiting=lambda *arguments, **named: [])

    def jobs(self, last=None):
        return list(self.known.values())

    def find(self, name):
        if name not in self.known:
            raise UnknownJob(f"no jobs match {name!r}")
        return self.known[name]

    def retry(self, job, peer=""):
        return ["segment"] if job.state is State.REFUSED else []

    def redo(self, job):
        return True

    def urge(self, job):
        return job.state is State.WAITING

    def forget(self, job):
        self.done.append(f"forget {job.id}")


@pytest.fixture
def store(monkeypatch):
    made = Store()

    @contextmanager
    def opened(url):
        yield made

    monkeypatch.setattr("dicom_node.commands.jobs.open_ledger", opened)
    return made


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    """Run `hepar jobs` with these words; returns its standard output and its messages."""
    monkeypatch.setenv("COLUMNS", "300")
    config = tmp_path / "hepar.toml"
    config.write_text(
        f'[node]\ndata = "{tmp_path / "data"}"\n[audit]\nfile = "{tmp_path / "audit.xml"}"\n'
    )

    def run(*words, fails=SystemExit):
        result = CliRunner().invoke(build(), ["jobs", *words, "--config", str(config)])
        if result.exception and not isinstance(result.exception, fails):
            raise result.exception
        return SimpleNamespace(out=result.stdout, message=result.stderr)

    return run


def test_an_empty_list_names_the_store_and_the_option_for_another(jobs, store, tmp_path):
    told = jobs("list")
    assert told.out == ""
    assert f"no jobs yet in {tmp_path / 'data'}; --config names" in told.message
    assert json.loads(jobs("list", "--json").out) == []


def test_a_list_that_a_filter_empties_says_how_many_were_looked_at(jobs, store):
    store.add("a", State.DONE)
    assert "no job like that among the newest 1;" in jobs("list", "--state", "failed").message
    assert "a" in jobs("list").out


@pytest.mark.parametrize(
    ("words", "done"),
    [
        (("retry", "a", "b"), ["segment", "nothing to do, it is waiting"]),
        (("retry", "--failed"), ["segment"]),
        (("redo", "a", "b"), ["segment again", "segment again"]),
        (("urge", "a", "b"), ["nothing to do, it is refused", "urgent now"]),
        (("send", "a", "b"), ["nothing to send, it is refused", "nothing to send, it is waiting"]),
        (("remove", "b"), ["not removed, it is waiting"]),
    ],
)
def test_every_action_prints_lines_or_json(jobs, store, words, done):
    store.add("a", State.REFUSED)
    store.add("b", State.WAITING)
    answers = json.loads(jobs(*words, "--json").out)
    assert [each["done"] for each in answers] == done
    assert {each["series"] for each in answers} <= {"1.2.0", "1.2.1"}
    lines = jobs(*words).out.splitlines()
    assert lines == [f"{each['job']}: {each['done']}" for each in answers]


def test_what_was_done_before_an_unknown_job_is_printed(jobs, store):
    store.add("a", State.WAITING)
    (told,) = json.loads(jobs("urge", "a", "nobody", "--json", fails=UnknownJob).out)
    assert (told["job"], told["done"]) == ("a", "urgent now")


def test_a_removal_is_on_the_audit_trail_without_a_start_or_stop(jobs, store, ct_series, tmp_path):
    path = tmp_path / "received.dcm"
    ct_series(slices=1)[0].save_as(path, enforce_file_format=True)
    store.add("a", State.REFUSED, [path])
    told = jobs("remove", "a")
    assert told.out == "a: removed\n"
    assert store.done == ["forget a"]
    assert not path.exists()
    (message,) = (tmp_path / "audit.xml").read_text().splitlines()
    assert 'EventActionCode="D"' in message
    assert 'ParticipantObjectID="1.2"' in message


def test_without_a_trail_that_can_be_written_nothing_is_removed(jobs, store, ct_series, tmp_path):
    path = tmp_path / "received.dcm"
    ct_series(slices=1)[0].save_as(path, enforce_file_format=True)
    store.add("a", State.REFUSED, [path])
    (tmp_path / "audit.xml").mkdir()
    with pytest.raises(Exception, match=r"audit.file .* cannot be written"):
        jobs("remove", "a")
    assert store.done == []
    assert path.exists()
