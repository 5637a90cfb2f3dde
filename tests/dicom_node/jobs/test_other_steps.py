"""What a release with other steps has queued or begun, and what the next one makes of it."""

import os
import signal
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context
from threading import Event

import pytest
from dbos import DBOS
from typer.testing import CliRunner

from dicom_node.jobs import dbos_runtime, other_steps, workflows
from dicom_node.jobs.dbos_runtime import queueing_jobs, submit
from dicom_node.jobs.ledger import open_ledger
from dicom_node.jobs.other_steps import (
    QueuedWork,
    give_to_older,
    newer,
    older_unserved,
    queue_left_over,
    steps_number,
    taking_older,
    waiting_for_newer,
)
from dicom_node.jobs.records import DeliveryTask
from dicom_node.jobs.state import State
from dicom_node.jobs.workflows import DELIVER, MOVING, SEGMENT, SUPERSEDED_BY, cancel
from dicom_node.main import build
from tests.dicom_node.jobs.running import run_worker
from tests.dicom_node.jobs.test_workflows import AWAY, KEPT, LOST, SENT, SILENT, TASK, Scripted
from tests.waiting import GENEROUS_S, wait_until


class Counting(Scripted):
    """A worker with scripted results that counts the series it computes."""

    def __init__(self, sends, confirms, pause_s=0.01):
        super().__init__([], [])
        # Lists: a process is started with it, which iterators do not survive on each Python.
        self.answers = {"send": list(sends), "confirm": list(confirms)}
        self.computed, self.pause_s = 0, pause_s

    def segment(self, job, task, *, urgent, superseded=()):
        self.computed += 1
        return super().segment(job, task, urgent=urgent, superseded=superseded)

    def answer(self, step):
        self.asked.append(step)
        return self.answers[step].pop(0)

    def pauses(self):
        return iter([self.pause_s] * 5)


def begin_and_die(url, version, worker, jobs, workflow, steps):
    """Run jobs until a workflow has so many steps, and die of SIGKILL; to be run in a process."""
    dbos_runtime.STEPS_VERSION = version
    other_steps.ROUND_S = 0.1
    if workflow == "job":
        workflows._queue_deliveries = lambda *arguments: Event().wait()
    with run_worker(worker, url, ["archive"]), taking_older():
        for job in jobs:
            submit(job, TASK)
        wait_until(lambda: len(DBOS.list_workflow_steps(workflow)) >= steps)
        os.kill(os.getpid(), signal.SIGKILL)


class Release:
    """Runs jobs as a release with steps of a version does."""

    def __init__(self, url, monkeypatch):
        self.url, self._monkeypatch = url, monkeypatch

    def dies(self, version, worker, jobs, workflow, steps):
        """Run a release in a process that is killed once a workflow has so many steps."""
        arguments = self.url, version, worker, jobs, workflow, steps
        process = get_context("spawn").Process(target=begin_and_die, args=arguments)
        process.start()
        process.join(GENEROUS_S)
        assert process.exitcode == -signal.SIGKILL

    @contextmanager
    def __call__(self, version, worker=None, **named):
        self._monkeypatch.setattr(dbos_runtime, "STEPS_VERSION", version)
        with ExitStack() as stack:
            if worker is None:
                stack.enter_context(queueing_jobs(self.url, "test"))
            else:
                stack.enter_context(run_worker(worker, self.url, ["archive"]))
                stack.enter_context(taking_older())
            yield stack.enter_context(open_ledger(self.url))


@pytest.fixture
def release(tmp_path, monkeypatch):
    monkeypatch.setattr(other_steps, "ROUND_S", 0.1)
    return Release(f"sqlite:///{tmp_path / 'jobs.sqlite'}", monkeypatch)


def states(ledger):
    return [job.state for job in ledger.jobs()]


def done(ledger, count=1):
    wait_until(lambda: states(ledger) == [State.DONE] * count)


def test_a_version_is_a_number_also_where_stores_are_shared():
    assert [steps_number(each) for each in ("2", "12 on node", "", None)] == [2, 12, 0, 0]


def test_older_work_is_taken_once_nobody_else_takes_it_and_newer_work_never():
    wanted = older_unserved("3", [3, 2])
    assert [number for number in range(5) if wanted(number)] == [0, 1, 3]
    assert [number for number in range(5) if newer([2, 3])(number)] == [4]
    assert not newer([])(4)


def test_what_an_older_release_queued_is_done_by_the_next_one(release):
    with release("1"):
        submit("queued", TASK)
        submit("urgent", TASK, urgent=True)
    worker = Counting([SENT] * 2, [KEPT] * 2)
    with release("2", worker) as ledger:
        done(ledger, 2)
    assert worker.computed == 2
    assert worker.asked.count("send") == 2


def test_what_a_newer_release_queued_waits_and_a_person_can_move_it(release):
    with release("3"):
        submit("job", TASK)
    worker = Counting([SENT], [KEPT])
    served = {SEGMENT: [2]}
    with release("2", worker) as ledger:
        text = waiting_for_newer(ledger.queued("test"), served)
        assert text.startswith("1 job and 0 deliveries wait for a worker of steps 3: start one")
        assert states(ledger) == [State.WAITING]
        assert give_to_older(ledger.queued("test"), served) == ["job"]
        done(ledger)
        assert waiting_for_newer(ledger.queued("test"), served) == ""


def test_a_node_of_another_folder_moves_nothing(release):
    with release("1"):
        submit("job", TASK)
        work = QueuedWork(DBOS, "other")
        assert work.waiting(SEGMENT, older_unserved("2", ())) == []


def test_a_move_that_was_broken_off_is_ended_by_the_next_start(release):
    with release("1") as ledger:
        submit("job", TASK)
        cancel(DBOS.get_workflow_status("job"), {MOVING: True})
        (job,) = ledger.jobs()
        assert (job.state, job.reason, job.finished) == (State.WAITING, "", None)
    with release("2", Counting([SENT], [KEPT])) as ledger:
        done(ledger)


def test_what_was_superseded_in_the_middle_of_a_move_stays_cancelled(release, monkeypatch):
    with release("1") as ledger:
        submit("before", TASK)
        submit("within", TASK)
        cancel(DBOS.get_workflow_status("before"), {MOVING: True})
        cancel(DBOS.get_workflow_status("before"), {SUPERSEDED_BY: "later"})
        assert not QueuedWork(DBOS, "test").finish("before", "2")
        rewind = DBOS.rewind_workflow

        def supersede(name, **named):
            cancel(DBOS.get_workflow_status(name), {SUPERSEDED_BY: "later"})
            return rewind(name, **named)

        monkeypatch.setattr(DBOS, "rewind_workflow", supersede)
        QueuedWork(DBOS, "test").move(DBOS.get_workflow_status("within"), "2")
        assert [DBOS.get_workflow_status(each).status for each in ("before", "within")] == [
            "CANCELLED"
        ] * 2
        assert states(ledger) == [State.SUPERSEDED] * 2


def test_a_series_that_was_computed_is_not_computed_again(release):
    release.dies("1", Counting([], []), ["job"], "job", 1)
    new = Counting([SENT], [KEPT])
    with release("2", new) as ledger:
        done(ledger)
    assert new.computed == 0
    assert new.asked == ["send", "confirm"]


def test_an_object_that_was_accepted_is_not_sent_again_but_when_a_person_asks(release):
    release.dies("1", Counting([SENT], [SILENT], 600.0), ["job"], "job-archive-seg", 3)
    new = Counting([], [KEPT])
    with release("2", new) as ledger:
        done(ledger)
        assert new.asked == ["confirm"]
        (job,) = ledger.jobs()
        new.answers = {"send": [SENT], "confirm": [KEPT]}
        task = DeliveryTask(TASK.series_uid, "archive", "seg", TASK.paths[0])
        ledger.send(job, [task])
        wait_until(lambda: new.asked == ["confirm", "send", "confirm"])
        done(ledger)


def test_an_object_that_was_accepted_is_not_sent_again_by_the_release_after_the_next(release):
    release.dies("1", Counting([SENT], [SILENT], 600.0), ["job"], "job-archive-seg", 3)
    with release("2"):
        queue_left_over("2")
        (delivery,) = QueuedWork(DBOS, "test").waiting(DELIVER, older_unserved("2", ()))
        assert QueuedWork(DBOS, "test").move(delivery, "2")
        # It has not begun: a run of a third release is the next one.
    new = Counting([], [KEPT])
    with release("3", new) as ledger:
        done(ledger)
    assert new.asked == ["confirm"]


def test_a_command_moves_the_jobs_of_a_newer_release_after_a_way_back(
    release, tmp_path, monkeypatch
):
    monkeypatch.setenv("HEPAR_NODE__DATA", str(tmp_path))
    (tmp_path / "node").write_text("test\n")

    def command(*words):
        done = CliRunner().invoke(build(), ["jobs", *words])
        assert done.exit_code == 0, done.output
        return done

    with release("3"):
        submit("waits", TASK)
        submit("broken-off", TASK)
        cancel(DBOS.get_workflow_status("broken-off"), {MOVING: True})
    assert "1 job and 0 deliveries wait for a worker of steps 3" in command("list").stderr
    assert set(command("move").stdout.split("\n")) == {"waits: moved", "broken-off: moved", ""}
    assert "wait" not in command("list").stderr
    assert "nothing waits" in command("move").stderr
    worker = Counting([SENT] * 2, [KEPT] * 2)
    with release("2", worker) as ledger:
        done(ledger, 2)


def test_an_object_that_was_refused_is_sent_and_one_that_was_lost_is_sent_again(release):
    release.dies("1", Counting([AWAY], [], 600.0), ["job"], "job-archive-seg", 2)
    release.dies("2", Counting([SENT], [SILENT], 600.0), [], "job-archive-seg", 3)
    new = Counting([SENT], [LOST, KEPT])
    with release("3", new) as ledger:
        done(ledger)
    assert new.asked == ["confirm", "send", "confirm"]
