"""Errors in a worker's step end the job with a reason."""

from contextlib import contextmanager

import pytest

from dicom_node.data_folder import DataFolder
from dicom_node.errors import SourceChanged, Unforeseen, UnsupportedSeries
from dicom_node.jobs.content_digest import file_stamp
from dicom_node.jobs.records import SeriesTask
from dicom_node.jobs.steps import series_worker as worker_module
from dicom_node.jobs.steps.series_worker import SeriesWorker, require_unchanged
from dicom_node.pipeline.outcome import Outcome, Verdict
from dicom_node.pipeline.segmenter import SegmentationSetup
from tests.dicom_node.node_process import Thresholds


class PanicException(BaseException):
    """Stands for the panic of a Rust decoder, which is no Exception."""


class Failing:
    """A segmenter in which something is raised."""

    def __init__(self, error):
        self.error = error

    def run(self, work):
        raise self.error


def segmented(error, tmp_path, **task):
    worker = SeriesWorker(Failing(error), DataFolder(tmp_path), {}, lambda *_: None)
    return worker.segment("job", SeriesTask("1.1", "1.2", (), **task))


@pytest.mark.parametrize("error", [RecursionError, MemoryError, PanicException, KeyError])
def test_whatever_is_raised_ends_the_job_without_its_words(error, tmp_path):
    with pytest.raises(Unforeseen, match=error.__name__) as caught:
        segmented(error("Doe^Jane"), tmp_path)
    assert "Doe" not in str(caught.value)


def test_an_interrupt_is_no_error_of_the_job(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        segmented(KeyboardInterrupt(), tmp_path)


def test_a_series_that_cannot_be_segmented_is_refused(tmp_path):
    outcome = segmented(UnsupportedSeries("slices are missing"), tmp_path).outcome
    assert (outcome.verdict, outcome.reason) == (Verdict.REFUSED, "slices are missing")


def test_a_series_that_could_not_be_read_is_refused_with_that_reason(tmp_path):
    outcome = segmented(AssertionError, tmp_path, refusal="cannot be read").outcome
    assert (outcome.verdict, outcome.reason) == (Verdict.REFUSED, "cannot be read")


def test_work_is_noted_while_it_lasts(tmp_path):
    noted = []

    @contextmanager
    def at_work(job):
        noted.append(job)
        yield
        noted.append("end")

    refused = Failing(UnsupportedSeries("slices are missing"))
    worker = SeriesWorker(refused, DataFolder(tmp_path), {}, lambda *_: None, at_work=at_work)
    worker.segment("job", SeriesTask("1.1", "1.2", ()))
    assert noted == ["job", "end"]


class Handing:
    """A segmenter that hands a setup to the work."""

    def run(self, work):
        return work(SegmentationSetup(Thresholds(), None, None))


def test_the_jobs_of_a_node_share_the_register_of_series_numbers(tmp_path, monkeypatch):
    registers = []

    def process(*_, origin, **__):
        registers.append(origin.numbers)
        return Outcome(Verdict.NOTHING_FOUND)

    monkeypatch.setattr(worker_module, "process", process)
    for job in ("one", "two"):
        worker = SeriesWorker(Handing(), DataFolder(tmp_path), {}, lambda *_: None)
        worker.segment(job, SeriesTask("1.1", job, ()))
    assert [each.take("1.1", str(each), [5, 6]) for each in registers] == [5, 6]


@pytest.mark.parametrize(
    ("urgent", "asked", "by_usual"),
    [(False, False, False), (True, False, True), (False, True, True)],
)
def test_the_usual_model_has_what_is_urgent_and_what_a_person_asks_for(
    tmp_path, urgent, asked, by_usual
):
    class Noting:
        def run(self, segmenter, work, *, by_usual):
            noted.append(by_usual)
            return Outcome(Verdict.NOTHING_FOUND)

    noted = []
    worker = SeriesWorker(None, DataFolder(tmp_path), {}, lambda *_: None, backlog=Noting())
    worker.segment("job", SeriesTask("1.1", "1.2", (), asked=asked), urgent=urgent)
    assert noted == [by_usual]


@pytest.fixture
def task(tmp_path):
    path = tmp_path / "1.dcm"
    path.write_bytes(b"one")
    digest = worker_module.content_digest([path])
    return SeriesTask("1.1", "1.2", (path,), digest=digest, stamp=file_stamp([path]))


def test_files_that_were_only_copied_are_the_same(task):
    (path,) = task.paths
    path.unlink()
    path.write_bytes(b"one")
    require_unchanged(task)


@pytest.mark.parametrize(
    "change", [lambda path: path.write_bytes(b"two"), lambda path: path.unlink()]
)
def test_files_that_changed_or_went_make_no_result(task, change):
    change(task.paths[0])
    with pytest.raises(SourceChanged, match="makes a job of its own"):
        require_unchanged(task)
