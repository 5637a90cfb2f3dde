"""A received series is known, changed or new, by what it holds."""

import pytest
from pydicom import dcmwrite

from dicom_node.errors import RejectedInstance
from dicom_node.jobs.ledger import open_ledger
from dicom_node.jobs.records import SegmentResult, SeriesTask
from dicom_node.jobs.state import State
from dicom_node.jobs.submit import submission
from dicom_node.jobs.submit.submission import SeriesSubmitter, job_name
from dicom_node.pipeline.outcome import Outcome, Verdict
from dicom_node.receive.foreign_copy import MOST_NOTES
from dicom_node.receive.header import SeriesKey
from dicom_node.receive.part10_intake import to_instance
from dicom_node.receive.series_assembler import ReceivedSeries
from dicom_node.receive.spool import Spool
from dicom_node.selection.rules import PriorityRules
from tests.dicom_node.jobs.running import run_worker
from tests.dicom_node.node_process import wait_until


class Recording:
    """A worker that finds nothing and records its tasks."""

    def __init__(self):
        self.tasks = []

    def segment(self, job, task, *, urgent, superseded):
        self.tasks.append((job, task, superseded))
        if task.refusal:
            return SegmentResult(Outcome(Verdict.REFUSED, task.refusal))
        return SegmentResult(Outcome(Verdict.NOTHING_FOUND, "no liver"))


class Bench:
    """A spool, a submitter and the jobs that come of it."""

    def __init__(self, folder, ct_series, worker, ledger, url):
        self.spool, self.worker, self.ledger = Spool(folder / "spool"), worker, ledger
        self.url = url
        self.restart("model")
        self.instances = ct_series(slices=3)

    def restart(self, model):
        """Begin anew with a model; offers nothing yet."""
        self.submitter = SeriesSubmitter(self.spool, model, PriorityRules(), self.url)

    def send(self, part=slice(None), **attributes):
        """Receive the series with changed attributes and submit it; return its newest job."""
        for instance in self.instances[part]:
            for keyword, value in attributes.items():
                setattr(instance, keyword, value)
            key = SeriesKey(instance.StudyInstanceUID, instance.SeriesInstanceUID)
            dcmwrite(self.spool.folder.parent / "one", instance, enforce_file_format=True)
            content = (self.spool.folder.parent / "one").read_bytes()
            self.spool.put(key, instance.SOPInstanceUID, content)
        return self.submit(key)

    def submit(self, key):
        paths = self.spool.paths(key)
        self.submitter.submit(ReceivedSeries(key.study_uid, key.series_uid, paths))
        self.finish()
        return self.ledger.jobs()[-1]

    def finish(self):
        wait_until(lambda: all(not job.state.active for job in self.ledger.jobs()))

    @property
    def states(self):
        return [job.state for job in self.ledger.jobs()]


@pytest.fixture
def bench(tmp_path, ct_series):
    url, worker = f"sqlite:///{tmp_path / 'jobs.sqlite'}", Recording()
    with (
        run_worker(worker, url),
        open_ledger(url) as ledger,
    ):
        yield Bench(tmp_path, ct_series, worker, ledger, url)


def put(bench, instance, sender):
    """Receive an instance from a caller while its series still comes; return its series."""
    dcmwrite(bench.spool.folder.parent / "one", instance, enforce_file_format=True)
    content = (bench.spool.folder.parent / "one").read_bytes()
    received = to_instance(content, sender)
    key = received.checked_header().series
    bench.spool.put(key, received.uid, received.to_part10())
    return key


def refused_of(bench):
    return [each.partition(": ")[2] for each in bench.ledger.jobs()[-1].refused_copies]


def test_a_job_names_what_another_caller_sent_of_its_series_and_was_refused(bench):
    bench.spool.is_unfinished = lambda series: True
    for instance in bench.instances:
        key = put(bench, instance, "CT1")
    (first, *_) = bench.instances
    content = first.PixelData

    def refuse(sender):
        first.PixelData = bytes(len(content))
        with pytest.raises(RejectedInstance, match="CT1 sent this instance"):
            put(bench, first, sender)
        return f"{sender} sent instance {first.SOPInstanceUID} of CT1 with other content; refused"

    rogue = refuse("ROGUE")
    job = bench.submit(key)
    assert refused_of(bench) == [rogue]
    assert [path.suffix for path in job.paths] == [".dcm"] * 3
    # A second time, while the same series comes once more.
    other = refuse("OTHER")
    assert bench.submit(key).id == job.id
    assert refused_of(bench) == [rogue, other]
    bench.submit(key)  # as after a restart
    assert refused_of(bench) == [rogue, other]


def test_notes_of_refusals_are_few_and_leave_with_the_files(bench):
    bench.spool.is_unfinished = lambda series: True
    (first, *_) = bench.instances
    key = put(bench, first, "CT1")
    first.PixelData = bytes(len(first.PixelData))
    for _ in range(MOST_NOTES + 5):
        with pytest.raises(RejectedInstance):
            put(bench, first, "ROGUE")
    assert len(bench.spool.refused_copies(key)) == MOST_NOTES
    bench.spool.remove(bench.spool.paths(key))
    assert [*bench.spool.folder.iterdir()] == []


def named(digest, series_uid="1.2", model="m"):
    return job_name(SeriesTask("1.1", series_uid, (), digest=digest), model)


def test_content_series_and_model_make_the_name_of_a_job():
    names = {named("a"), named("b"), named("a", series_uid="1.3"), named("a", model="n")}
    assert len(names) == 4
    assert named("a") == named("a")


def test_all_jobs_of_a_series_share_the_beginning_of_their_names():
    assert named("a")[:6] == named("b")[:6] != named("a", series_uid="1.3")[:6]


def test_an_unchanged_series_is_known(bench, caplog):
    caplog.set_level("INFO", "dicom_node")
    first = bench.send()
    assert bench.send().id == first.id
    assert len(bench.worker.tasks) == 1
    assert "known, 3 instances unchanged" in caplog.messages


@pytest.mark.parametrize(
    "change",
    [{"PatientName": "RIGHT^ONE"}, {"RescaleIntercept": "-1000"}, {"AccessionNumber": "2"}],
)
def test_a_changed_series_is_new_work_that_supersedes_the_old(bench, change, caplog):
    caplog.set_level("INFO", "dicom_node")
    old = bench.send()
    new = bench.send(**change)
    assert bench.states == [State.SUPERSEDED, State.NOTHING_FOUND]
    assert f"superseded by job {new.id}" in bench.ledger.find(old.id).reason
    assert f"complete, 3 instances, changed: supersedes {old.id}" in caplog.messages
    (_, (_, task, superseded)) = bench.worker.tasks
    assert task.supersedes == (old.id,)
    assert superseded == [Outcome(Verdict.NOTHING_FOUND, "no liver")]


def test_another_model_does_nothing_again_that_was_done_before_it(bench):
    first = bench.send()
    (key,) = bench.spool.series()
    bench.restart("other")
    assert bench.submit(key).id == first.id
    assert bench.states == [State.NOTHING_FOUND]
    assert len(bench.worker.tasks) == 1


def test_a_series_that_is_sent_again_is_new_work_for_another_model(bench):
    bench.send()
    bench.restart("other")
    bench.send()
    assert bench.states == [State.SUPERSEDED, State.NOTHING_FOUND]


def test_going_back_to_the_model_before_keeps_the_newest_job_and_its_files(bench):
    bench.send()
    bench.restart("other")
    newest = bench.send()
    (key,) = bench.spool.series()
    bench.restart("model")
    assert bench.submit(key).id == newest.id
    assert bench.states == [State.SUPERSEDED, State.NOTHING_FOUND]
    assert all(path.exists() for path in newest.paths)


def test_a_study_that_was_moved_is_new_work_and_the_old_files_go(bench):
    old = bench.send()
    bench.send(StudyInstanceUID="1.2.3.4")
    assert bench.states == [State.SUPERSEDED, State.NOTHING_FOUND]
    assert [key.study_uid for key in bench.spool.series()] == ["1.2.3.4"]
    assert not any(path.exists() for path in old.paths)


def test_the_whole_series_closes_a_job_on_a_part(bench):
    part = bench.send(slice(0, 2))
    bench.send(slice(2, 3))
    assert bench.ledger.find(part.id).state is State.SUPERSEDED
    assert all(path.exists() for path in part.paths)


def test_a_late_slice_alone_does_not_close_the_whole(bench):
    whole = bench.send()
    bench.spool.remove(whole.paths)
    late = bench.send(slice(0, 1))
    assert late.id != whole.id
    assert bench.ledger.find(whole.id).state is State.NOTHING_FOUND


def test_what_was_corrected_and_taken_back_is_done_once_more(bench):
    first = bench.send(PatientID="1")
    bench.send(PatientID="2")
    third = bench.send(PatientID="1")
    assert third.id.startswith(f"{first.id}-")
    assert bench.states == [State.SUPERSEDED, State.SUPERSEDED, State.NOTHING_FOUND]
    assert bench.send(PatientID="1").id == third.id
    assert len(bench.worker.tasks) == 3


@pytest.mark.parametrize("model", ["model", "other"])
def test_files_that_a_crash_left_of_a_moved_study_are_removed_and_not_done_again(
    bench, model, monkeypatch
):
    old_study = bench.instances[0].StudyInstanceUID
    with monkeypatch.context() as crash:
        crash.setattr(bench.spool, "remove", lambda paths: None)
        bench.send()
        bench.send(StudyInstanceUID="1.2.3.4")
    key = SeriesKey(old_study, bench.instances[0].SeriesInstanceUID)
    assert bench.spool.paths(key)
    bench.restart(model)
    bench.submit(key)
    assert not bench.spool.paths(key)
    assert bench.states == [State.SUPERSEDED, State.NOTHING_FOUND]


def test_a_crash_between_queueing_and_closing_is_made_up_for(bench, monkeypatch):
    bench.send()
    with monkeypatch.context() as crash:
        crash.setattr(SeriesSubmitter, "_close", lambda *_: None)
        bench.send(PatientID="2")
    assert bench.states == [State.NOTHING_FOUND, State.NOTHING_FOUND]
    bench.send()
    assert bench.states == [State.SUPERSEDED, State.NOTHING_FOUND]


@pytest.mark.parametrize("error", [RecursionError, MemoryError, OSError])
def test_a_series_that_cannot_be_read_is_refused_at_the_third_try(bench, monkeypatch, error):
    def fail(paths, rules):
        raise error("Doe^Jane")

    monkeypatch.setattr(submission, "is_urgent", fail)
    for _ in range(2):
        with pytest.raises(error):
            bench.send()
    job = bench.send()
    assert job.state is State.REFUSED
    assert "cannot be read" in job.reason
    assert "send the series again" in job.reason
    assert "Doe" not in job.reason
    monkeypatch.undo()
    assert bench.send(PatientID="2").state is State.NOTHING_FOUND


def test_a_job_has_a_name_of_sixteen_letters(bench):
    assert len(bench.send().id) == 16


def test_a_gateway_with_files_of_its_own_stores_where_they_lie_and_who_received_them_last(bench):
    def restart(holder):
        rules = PriorityRules()
        bench.submitter = SeriesSubmitter(bench.spool, "model", rules, bench.url, holder=holder)

    restart("receive-1")
    job = bench.send()
    (_, task, _), *_ = bench.worker.tasks
    assert task.holder == job.holder == "receive-1"
    assert {path.parts[0] for path in task.paths} == {"spool"}
    assert all((bench.spool.folder.parent / path).exists() for path in task.paths)
    restart("receive-2")
    assert bench.send().holder == "receive-2"
    assert len(bench.worker.tasks) == 1
    changed = bench.send(PatientName="Other")
    assert bench.states == [State.SUPERSEDED, State.NOTHING_FOUND]
    assert all((bench.spool.folder.parent / path).exists() for path in changed.paths)
