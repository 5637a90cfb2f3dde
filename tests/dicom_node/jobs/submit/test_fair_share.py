"""Series of several callers come in turn, by their weights, and DBOS takes them so."""

import threading
from collections import Counter, defaultdict

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmwrite

from dicom_node.jobs.dbos_runtime import queueing_jobs, submit
from dicom_node.jobs.polling import PollingRate
from dicom_node.jobs.records import SegmentResult, SeriesTask
from dicom_node.jobs.submit.fair_share import (
    AGAIN_FROM,
    FEW,
    LAST_TAG,
    QUANTUM,
    Shares,
    sender_of,
    start_tag,
    virtual_time,
)
from dicom_node.net.callers import Caller
from dicom_node.pipeline.outcome import Outcome, Verdict
from tests.dicom_node.jobs.running import run_worker
from tests.waiting import wait_until


class Queue:
    """Series that wait for one device, tagged as `Shares.turn` does it."""

    def __init__(self, weights):
        self.quanta = {caller: QUANTUM // weight for caller, weight in weights.items()}
        self.waiting, self.working, self.ended = [], [], []
        self.number = 0

    def arrive(self, caller):
        now = virtual_time(
            [each[0] for each in self.working],
            [each[0] for each in sorted(self.waiting, key=lambda each: each[1])[:FEW]],
            [each[0] for each in self.ended[-FEW:]],
        )
        active = [each for each in (*self.waiting, *self.working) if each[2] == caller]
        own = active or [each for each in self.ended if each[2] == caller][-1:]
        last = max((each[0] for each in own), default=None)
        tag = start_tag(now, last, self.quanta[caller], active=bool(active))
        self.number += 1
        self.waiting.append((tag, self.number, caller))
        return self.number

    def end(self):
        self.ended += self.working
        self.working = []

    def work(self):
        """End the series that is worked on, and begin the next; return it."""
        self.end()
        if not self.waiting:
            return None
        first = min(self.waiting)  # by priority, then by age, as DBOS takes them
        self.waiting.remove(first)
        self.working = [first]
        return first


WEIGHTS = st.fixed_dictionaries({name: st.integers(1, 100) for name in "ABC"})
EVENTS = st.lists(st.sampled_from(["A", "B", "C", "work", "work"]), max_size=80)

on_a_busy_machine = settings(
    deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], database=None
)


@on_a_busy_machine
@given(weights=WEIGHTS, events=EVENTS)
def test_callers_that_wait_get_their_shares_and_each_in_its_order(weights, events):
    queue, served, begun = Queue(weights), Counter(), {}
    order = defaultdict(list)
    for event in events:
        if event != "work":
            queue.arrive(event)
            continue
        if job := queue.work():
            order[job[2]].append(job[1])
            served[job[2]] += 1
        waiting = {each[2] for each in queue.waiting}
        for one, other in ("AB", "AC", "BC"):
            # Counted while both wait without a break.
            if not {one, other} <= waiting:
                begun.pop((one, other), None)
                continue
            before = begun.setdefault((one, other), served.copy())
            mine, its = (
                (served[each] - before[each]) * queue.quanta[each] for each in (one, other)
            )
            assert abs(mine - its) <= queue.quanta[one] + queue.quanta[other]
    assert all(numbers == sorted(numbers) for numbers in order.values())


@on_a_busy_machine
@given(weights=WEIGHTS, events=EVENTS, newcomer=st.sampled_from("ABC"))
def test_who_had_nothing_to_do_waits_for_one_series_of_each_other_caller(weights, events, newcomer):
    queue = Queue(weights)
    for event in events:
        if event == "work":
            queue.work()
        elif event != newcomer:
            queue.arrive(event)
    number = queue.arrive(newcomer)
    before = 0
    while queue.work()[1] != number:
        before += 1
    assert before <= 2


@on_a_busy_machine
@given(weights=WEIGHTS, events=st.lists(st.sampled_from(["A", "B", "C", "work", "end"])))
def test_every_series_is_done_however_long_no_worker_runs(weights, events):
    queue = Queue(weights)
    for event in events:
        if event in ("work", "end"):
            getattr(queue, event)()
        else:
            queue.arrive(event)
    left = len(queue.waiting)
    assert sum(queue.work() is not None for _ in range(left)) == left
    assert all(1 <= tag <= LAST_TAG for tag, _, _ in queue.ended)


def test_a_job_put_back_to_work_lets_nobody_overtake_the_rest():
    assert virtual_time([10], [5000, 5100], []) == 5000 - QUANTUM
    assert virtual_time([4990], [5000], []) == 4990


def test_tags_begin_anew_when_nothing_waits_and_end_at_the_greatest():
    assert virtual_time([], [], [AGAIN_FROM - 1]) == AGAIN_FROM - 1
    assert virtual_time([], [], [AGAIN_FROM]) == 1
    # The last job of the caller is of the time before: one quantum.
    assert start_tag(1, AGAIN_FROM, 100, active=False) == 101
    assert start_tag(1, LAST_TAG - 1, 100, active=True) == LAST_TAG


def test_of_two_callers_with_one_title_the_first_counts():
    shares = Shares.of([Caller("CT", weight=3), Caller("CT", weight=7), Caller("MR")])
    assert shares.weights == {"CT": 3, "MR": 1}


class Recording:
    """A worker that finds nothing, and may be held at its first series."""

    def __init__(self):
        self.order, self.go_on = [], threading.Event()

    def segment(self, job, task, *, urgent, superseded):
        self.order.append(job)
        assert self.go_on.wait(60)
        return SegmentResult(Outcome(Verdict.NOTHING_FOUND, "no liver"))


@pytest.fixture
def sent(tmp_path, ct_series):
    """Return a task on a series that a caller has sent."""
    (instance,) = ct_series(slices=1)

    def task(caller):
        path = tmp_path / caller
        if not path.exists():
            instance.file_meta.SendingApplicationEntityTitle = caller
            dcmwrite(path, instance, enforce_file_format=True)
        return SeriesTask("1.1", "1.2", (path,))

    return task


def queue(shares, sent, caller, numbers):
    for number in numbers:
        turn = shares.turn(sent(caller))
        submit(f"{caller}{number}", sent(caller), caller=turn.caller, tag=turn.tag)


INTERLEAVED = {
    1: "A1 B1 A2 B2 A3 B3 A4 B4 A5 B5",
    4: "A1 B1 B2 B3 B4 A2 B5",
}
"""By the weight of B."""


@pytest.mark.parametrize("weight", INTERLEAVED)
@pytest.mark.parametrize("works", [True, False], ids=["while a worker runs", "before it starts"])
def test_five_series_behind_two_hundred_of_another_caller_come_in_turn(
    tmp_path, sent, weight, works
):
    url, worker = f"sqlite:///{tmp_path / 'jobs.sqlite'}", Recording()
    shares, polling = Shares({"B": weight}), PollingRate(linger_s=60)

    def backlog():
        queue(shares, sent, "A", [1])
        if works:
            wait_until(lambda: worker.order)
        queue(shares, sent, "A", range(2, 201))
        queue(shares, sent, "B", range(1, 6))

    if not works:  # the order outlives the process that queued
        with queueing_jobs(url, "test"):
            backlog()
    with run_worker(worker, url, polling=polling):
        if works:
            backlog()
        polling.speed_up()
        worker.go_on.set()
        wait_until(lambda: "B5" in worker.order)
    expected = INTERLEAVED[weight].split()
    assert worker.order[: len(expected)] == expected


def test_the_sender_of_what_cannot_be_read_is_nobody(tmp_path, sent):
    assert sender_of(sent("A")) == "A"
    broken = tmp_path / "broken"
    broken.write_bytes(b"no DICOM")
    assert sender_of(SeriesTask("1.1", "1.2", (broken,))) == ""
    assert sender_of(SeriesTask("1.1", "1.2", (tmp_path / "absent",))) == ""
