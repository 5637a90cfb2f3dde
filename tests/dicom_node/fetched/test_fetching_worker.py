"""A worker on copies: what it fetches, what it brings back, and what ends or delays its jobs."""

import os
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dicom_node.data_folder import DataFolder
from dicom_node.deliver.attempts import ConfirmAnswer, SendAnswer
from dicom_node.errors import NotHeld, SourceChanged
from dicom_node.fetched.cache import Cache
from dicom_node.fetched.fetching_deliverer import FetchingDeliverer
from dicom_node.fetched.fetching_worker import FetchingWorker, Places
from dicom_node.jobs.backoff import Backoff
from dicom_node.jobs.content_digest import content_digest, file_stamp
from dicom_node.jobs.records import DeliveryTask, SegmentResult, SeriesTask
from dicom_node.pipeline.outcome import Outcome, Verdict
from tests.dicom_node.fetched.lender import EXECUTOR, JOB, SERIES, holder, lender
from tests.system.servers import free_port

OLDER = "fedcba9876543210"


class PutAside(BaseException):
    """In place of `Postponed`."""


@dataclass(frozen=True)
class Computing:
    """Stands for `SeriesWorker`: writes a result that has the bytes of all instances."""

    data: DataFolder
    seen: dict[str, Any] = field(default_factory=dict)

    def segment(self, job, task, *, urgent, superseded):
        self.seen.update(task=task, superseded=superseded, urgent=urgent)
        seg = self.data.result(job)
        self.seen["before"] = seg.read_bytes() if seg.exists() else None
        if not seg.exists():
            seg.write_bytes(b"".join(path.read_bytes() for path in task.paths))
        (report := seg.with_suffix(".report.dcm")).write_bytes(b"report")
        outcome = Outcome(Verdict.SEGMENTED, seg=seg, files={"report": report})
        outcome = replace(outcome, stacks=(outcome,))
        return SegmentResult(outcome, (DeliveryTask(task.series_uid, "shelf", "seg", seg),))

    def failed(self, job, task, reason):
        file = self.data.result(job).with_suffix(".receipt.dcm")
        file.write_bytes(task.paths[0].read_bytes())
        return (DeliveryTask(task.series_uid, "shelf", "receipt", file, kind=None),)

    def deliver(self, task):
        self.seen["sent"] = task.file.read_bytes() if task.file.exists() else None
        return SendAnswer()

    def confirm(self, task):
        self.seen["confirmed"] = task.file.read_bytes()
        return ConfirmAnswer(by="it")


@dataclass
class Site:
    """A gateway with a series, and a worker that has nothing of it."""

    gateway: Any
    worker: FetchingWorker
    deliverer: FetchingDeliverer
    computing: Computing
    events: list[tuple[str, ...]]
    holders: dict[str, Any]

    def task(self, **values):
        paths = sorted(self.gateway.path("x").parent.glob("*.dcm"))
        stored = tuple(path.relative_to(self.gateway.data.folder) for path in paths)
        made_of = {"digest": content_digest(paths), "stamp": file_stamp(paths), **values}
        made_of |= {"holder": "receive-1"}
        return SeriesTask(SERIES.study_uid, SERIES.series_uid, stored, **made_of)

    def segment(self, task=None, superseded=()):
        task = task or self.task()
        return self.worker.segment(JOB, task, urgent=True, superseded=superseded)

    def away(self):
        self.holders["receive-1"] = holder("receive-1", free_port())


@pytest.fixture
def site(gateway, tmp_path):
    for number in range(3):
        gateway.instance(b"instance %d" % number)
    events, holders = [], {"receive-1": gateway.holder}

    def postpone(job, error):
        events.append(("postponed", job, str(error)))
        raise PutAside

    places = Places(
        holder=lambda name: holders[name],
        received_by=lambda job: holders.get("received by", ""),
        holder_of={OLDER: "receive-1"}.get,
        postpone=postpone,
        done=lambda job: events.append(("done", job)),
        check=lambda job: events.append(("check", job)),
        executor=EXECUTOR,
    )
    computing = Computing(DataFolder(Path("/nowhere")))
    cache = Cache(tmp_path / "worker" / "fetched", 1 << 30, timedelta(hours=1))
    briefly = Backoff(0.001, 0.001, 0.002)
    worker = FetchingWorker(computing, places, cache, tmp_path / "worker" / "attempts", briefly)
    deliverer = FetchingDeliverer(computing, lambda name: holders[name], cache)
    return Site(gateway, worker, deliverer, computing, events, holders)


def test_results_lie_at_the_gateway_and_stored_paths_are_relative(site):
    result = site.segment()
    results = site.gateway.data.results
    assert (results / f"{JOB}.dcm").read_bytes().startswith(b"instance")
    assert (results / f"{JOB}.report.dcm").read_bytes() == b"report"
    assert result.outcome.seg == Path("results") / f"{JOB}.dcm"
    assert result.outcome.stacks[0].files == {"report": Path("results") / f"{JOB}.report.dcm"}
    (delivery,) = result.deliveries
    assert (delivery.file, delivery.holder) == (result.outcome.seg, "receive-1")
    assert site.events[-1] == ("done", JOB)
    assert list(site.worker.attempts.iterdir()) == []
    assert SegmentResult.from_json(result.to_json()) == result


def test_copies_are_fetched_once_and_kept_for_the_next_time(site):
    site.segment()
    before = len(site.gateway.door.asked)
    site.segment()
    again = [path for _, path, _ in site.gateway.door.asked[before:]]
    assert [path for path in again if path.startswith("/series") and path.endswith(".dcm")] == []


def test_the_object_that_a_job_made_before_is_there_when_it_is_made_again(site):
    site.segment()
    seg = site.gateway.data.result(JOB)
    stat = seg.stat()
    site.segment()
    assert site.computing.seen["before"] == seg.read_bytes()
    assert (seg.stat().st_ino, seg.stat().st_mtime_ns) == (stat.st_ino, stat.st_mtime_ns)


def test_a_gateway_that_is_away_puts_the_job_aside_with_the_reason(site):
    task = site.task()
    site.away()
    with pytest.raises(PutAside):
        site.segment(task)
    (_, (what, job, reason)) = site.events
    assert (what, job) == ("postponed", JOB)
    assert "receive-1" in reason
    assert "cannot be reached" in reason
    with pytest.raises(PutAside):
        site.worker.failed(JOB, task, "why")


def test_a_gateway_that_is_away_when_the_result_is_there_puts_the_job_aside(site, monkeypatch):
    task, segment = site.task(), Computing.segment

    def then_away(self, *arguments, **named):
        result = segment(self, *arguments, **named)
        site.away()
        return result

    monkeypatch.setattr(Computing, "segment", then_away)
    with pytest.raises(PutAside):
        site.segment(task)
    assert list(site.gateway.data.results.iterdir()) == []


def test_a_gateway_that_is_away_for_a_moment_costs_no_second_computation(site):
    site.gateway.door.statuses = [0] * 7 + [503, 503]  # once the result is brought
    site.worker = replace(site.worker, briefly=Backoff(0.001, 0.001, 0.01))
    site.segment()
    assert [method for method, _, _ in site.gateway.door.asked].count("PUT") == 2 + 2
    assert site.events[-1] == ("done", JOB)


def test_an_instance_that_is_not_kept_any_more_ends_the_job_with_the_remedy(site):
    task = site.task()
    site.gateway.path(task.paths[1].name).unlink()
    with pytest.raises(NotHeld, match=r"1 of 3 instances .* send the series again"):
        site.segment(task)
    assert site.worker.failed(JOB, task, "why") == ()


def test_other_instances_than_those_of_the_job_are_not_computed(site):
    task = site.task()
    site.gateway.path(task.paths[1].name).write_bytes(b"another")
    with pytest.raises(SourceChanged):
        site.segment(task)
    assert site.computing.seen == {}


def test_instances_that_change_while_they_are_computed_have_no_result(site, monkeypatch):
    task, segment = site.task(), Computing.segment

    def then_changed(self, *arguments, **named):
        site.gateway.path(task.paths[1].name).write_bytes(b"another")
        return segment(self, *arguments, **named)

    monkeypatch.setattr(Computing, "segment", then_changed)
    with pytest.raises(SourceChanged):
        site.segment(task)
    assert list(site.gateway.data.results.iterdir()) == []


def test_the_same_instances_sent_again_while_they_are_computed_change_nothing(site, monkeypatch):
    task, segment = site.task(), Computing.segment

    def then_touched(self, *arguments, **named):
        os.utime(site.gateway.path(task.paths[1].name))
        return segment(self, *arguments, **named)

    monkeypatch.setattr(Computing, "segment", then_touched)
    assert site.segment(task).outcome.verdict is Verdict.SEGMENTED


class TakenOver(BaseException):
    """In place of that of `fenced_worker`."""


def test_a_job_that_is_no_longer_this_process_s_brings_nothing_and_is_not_put_aside(site):
    def check(job):
        raise TakenOver

    task = site.task()
    site.worker = replace(site.worker, places=replace(site.worker.places, check=check))
    with pytest.raises(TakenOver):
        site.segment(task)
    assert list(site.gateway.data.results.iterdir()) == []
    site.away()
    with pytest.raises(TakenOver):
        site.segment(task)
    assert site.events == []


def test_a_series_that_came_again_elsewhere_is_fetched_there_and_its_results_lie_there(
    site, tmp_path
):
    task = site.task()
    with lender(tmp_path / "other", "other") as other:
        copy(site.gateway, other, task)
        site.holders |= {"other": other.holder, "received by": "other"}
        site.away()  # and may never come back
        result = site.segment(task)
        assert other.data.result(JOB).exists()
    assert (result.holder, result.deliveries[0].holder) == ("other", "other")


def test_a_gateway_that_has_lost_what_came_again_does_not_end_the_job(site, tmp_path):
    task = site.task()
    with lender(tmp_path / "other", "other") as other:
        site.holders |= {"other": other.holder, "received by": "other"}
        assert site.segment(task).holder == "receive-1"
        site.holders["other"] = holder("other", free_port())
        assert site.segment(task).holder == "receive-1"
        site.gateway.path(task.paths[0].name).unlink()
        with pytest.raises(PutAside):  # the other one may have it
            site.segment(task)


def copy(one, other, task):
    for path in task.paths:
        target = other.path(path.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(one.path(path.name).read_bytes())


def test_older_results_that_are_superseded_are_at_hand(site):
    old = site.gateway.data.result(OLDER)
    old.write_bytes(b"old")
    outcome = Outcome(Verdict.SEGMENTED, seg=Path("results") / f"{OLDER}.dcm")
    site.segment(site.task(supersedes=(OLDER, "0" * 16)), superseded=[outcome])
    (seen,) = site.computing.seen["superseded"]
    assert seen.seg.read_bytes() == b"old"


def test_receipts_of_a_failed_job_lie_at_its_gateway(site):
    task = site.task()
    (delivery,) = site.worker.failed(JOB, task, "why")
    assert (delivery.file, delivery.holder) == (Path("results") / f"{JOB}.receipt.dcm", "receive-1")
    assert (site.gateway.data.folder / delivery.file).read_bytes().startswith(b"instance")


def test_a_result_is_sent_as_the_gateway_has_it_now(site):
    (delivery,) = site.segment().deliveries
    seg = site.gateway.data.folder / delivery.file
    assert site.deliverer.deliver(delivery) == SendAnswer()
    assert site.computing.seen["sent"] == seg.read_bytes()
    seg.write_bytes(b"made again")
    site.deliverer.deliver(delivery)
    site.deliverer.confirm(delivery)
    assert site.computing.seen["sent"] == site.computing.seen["confirmed"] == b"made again"
    seg.unlink()
    site.deliverer.deliver(delivery)
    assert site.computing.seen["sent"] is None


def test_a_delivery_waits_for_a_gateway_that_is_away(site):
    (delivery,) = site.segment().deliveries
    site.away()
    for step in (site.deliverer.deliver, site.deliverer.confirm):
        assert "cannot be reached" in step(delivery).refused


def test_a_series_that_cannot_be_read_is_known_by_its_times(site):
    stamp = site.task().stamp
    task = site.task(refusal="it cannot be read", digest=stamp)
    site.segment(task)
    assert site.computing.seen["task"].refusal
