"""One series of a study is segmented, the best; the others end visibly, and nothing is lost."""

import time
from contextlib import ExitStack

import pytest
from pydicom import dcmwrite
from pydicom.uid import generate_uid

from dicom_node.choice.contrast_phase import UNKNOWN, FoundPhase, Phase
from dicom_node.jobs.ledger import open_ledger
from dicom_node.jobs.polling import PollingRate
from dicom_node.jobs.records import SegmentResult
from dicom_node.jobs.state import State
from dicom_node.jobs.submit.asked_for import ASKED
from dicom_node.jobs.submit.study_choice import StudyChoice
from dicom_node.jobs.submit.submission import SeriesSubmitter
from dicom_node.pipeline.outcome import Outcome, Verdict
from dicom_node.receive.header import SeriesKey
from dicom_node.receive.series_assembler import ReceivedSeries
from dicom_node.receive.spool import Spool
from dicom_node.selection.rules import PriorityRules, Rules
from tests.conftest import make_ct_series
from tests.dicom_node.jobs.running import run_worker
from tests.waiting import wait_until

ROUTINE = PriorityRules()
BEST = Rules(best_of_study=True, study_wait_s=60)
LATER_S = 61.0


class Segmenting:
    """A worker that segments every series that was chosen, but for those in `fails`."""

    def __init__(self):
        self.fails = {}
        self.done = []

    def segment(self, job, task, *, urgent, superseded):
        if task.not_chosen:
            return SegmentResult(Outcome(Verdict.NOT_SELECTED, task.not_chosen))
        self.done.append(task.series_uid)
        verdict = self.fails.get(task.series_uid, Verdict.SEGMENTED)
        if isinstance(verdict, Exception):
            raise verdict
        return SegmentResult(Outcome(verdict, "no liver" * (verdict is not Verdict.SEGMENTED)))

    def failed(self, job, task, reason):
        return ()


class Bench:
    """The jobs of one study, on a node that chooses, and a clock that is put forward."""

    def __init__(self, folder):
        self.url = f"sqlite:///{folder / 'jobs.sqlite'}"
        self.spool, self.worker = Spool(folder / "spool"), Segmenting()
        self.node = ExitStack()

    def begin(self, rules=BEST):
        """Begin a study."""
        self.study, self.rules = generate_uid(), rules
        self.worker.fails, self.worker.done = {}, []
        self.ahead_s, self.silence_s = 0.0, float("inf")
        self.measure = lambda paths: UNKNOWN
        self.renew(rules)

    def renew(self, rules=BEST):
        """Choose as a node does that has just started."""
        self.choice = StudyChoice(
            rules,
            lambda study: self.silence_s,
            lambda paths: self.measure(paths),
            self.polling.speed_up,
            lambda: time.time() + self.ahead_s,
        )

    def start(self):
        self.polling = PollingRate()
        jobs = run_worker(self.worker, self.url, polling=self.polling)
        self.node.enter_context(jobs)
        self.ledger = self.node.enter_context(open_ledger(self.url))

    def restart(self):
        self.node.close()
        self.start()
        self.renew()

    def send(self, sender="CT", urgent=ROUTINE, **attributes):
        """Receive a series of the study; return its UID."""
        return self.receive(self.series(**attributes), sender, urgent)

    def series(self, **attributes):
        instances = make_ct_series(slices=3)
        for instance in instances:
            instance.StudyInstanceUID = self.study
            for keyword, value in attributes.items():
                setattr(instance, keyword, value)
        return instances

    def receive(self, instances, sender="CT", urgent=ROUTINE):
        key = SeriesKey(instances[0].StudyInstanceUID, instances[0].SeriesInstanceUID)
        for instance in instances:
            instance.file_meta.SendingApplicationEntityTitle = sender
            one = self.spool.folder.parent / "one"
            dcmwrite(one, instance, enforce_file_format=True)
            self.spool.put(key, instance.SOPInstanceUID, one.read_bytes())
        paths = self.spool.paths(key)
        held = self.rules.best_of_study
        submitter = SeriesSubmitter(self.spool, "model", urgent, self.url, held)
        submitter.submit(ReceivedSeries(key.study_uid, key.series_uid, paths))
        self.polling.speed_up()
        return key.series_uid

    def decide(self):
        """Let the study become quiet, and follow it to its end."""
        self.ahead_s = LATER_S
        self.settle()

    def settle(self):
        def settled():
            self.choice.round()
            return not any(job.state.active for job in self.ledger.jobs())

        wait_until(settled)

    def job(self, series_uid):
        return next(j for j in reversed(self.ledger.jobs()) if j.series_uid == series_uid)

    def state(self, series_uid):
        return self.job(series_uid).state


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    bench = Bench(tmp_path_factory.mktemp("study"))
    bench.start()
    yield bench
    bench.node.close()


@pytest.fixture
def bench(node):
    node.begin()
    yield node
    node.renew(Rules())
    node.settle()


def test_the_best_is_segmented_and_the_others_state_why_they_were_not(bench):
    arterial = bench.send(SeriesNumber=4, SeriesDescription="arterial")
    portal = bench.send(SeriesNumber=5, SeriesDescription="Abdomen venous")
    thick = bench.send(SeriesNumber=6, SeriesDescription="venous", SliceThickness=5)
    bench.decide()
    assert bench.worker.done == [portal]
    assert bench.state(portal) is State.DONE
    assert bench.state(arterial) is bench.state(thick) is State.NOT_SELECTED
    assert bench.job(arterial).reason == (
        "series 5 of the study was preferred because its phase is portal venous (by its name),"
        " that of this one arterial (by its name)"
    )
    assert bench.job(thick).reason == (
        "series 5 of the study was preferred because its slices are 2 mm thick, those of this one"
        " 5 mm"
    )


def test_a_phase_that_no_header_states_is_measured(bench):
    measured = []

    def measure(paths):
        measured.append(paths[0].parent.name)
        if measured[-1] == broken:
            raise ValueError("Doe^Jane")
        return FoundPhase(Phase.PORTAL, "liver 118 HU, its veins 170 HU")

    bench.measure = measure
    bench.send(SeriesDescription="arterial")
    portal, broken = bench.send(SeriesNumber=7), bench.send()
    bench.decide()
    assert sorted(measured) == sorted([portal, broken])
    assert bench.worker.done == [portal]
    assert bench.job(broken).reason == (
        "series 7 of the study was preferred because its phase is portal venous (liver 118 HU, its"
        " veins 170 HU), that of this one unknown"
    )


def test_nothing_is_measured_where_there_is_nothing_to_choose(bench):
    bench.measure = lambda paths: pytest.fail("was measured")
    bench.send()
    bench.decide()
    assert len(bench.worker.done) == 1


def test_nothing_begins_before_the_study_is_quiet(bench):
    first = bench.send()
    bench.choice.round()
    assert bench.state(first) is State.HELD
    assert bench.job(first).reason == "until its study is complete"
    bench.ahead_s, bench.silence_s = LATER_S, 5.0  # another series is coming in
    bench.choice.round()
    assert bench.state(first) is State.HELD
    bench.silence_s = LATER_S  # a router keeps the association of that one open
    bench.settle()
    assert bench.state(first) is State.DONE


def test_the_others_wait_for_the_result_of_the_best(bench):
    bench.send(SeriesNumber=5, SeriesDescription="venous")
    other = bench.send(SeriesDescription="arterial")
    bench.ahead_s = LATER_S
    bench.choice.round()
    assert bench.state(other) is State.HELD
    assert bench.job(other).reason.startswith("until that has a result: series 5 of the study was")


@pytest.mark.parametrize(
    "end", [Verdict.NOTHING_FOUND, Verdict.REFUSED, Verdict.NOT_SELECTED, ValueError("broken")]
)
def test_the_next_best_takes_the_place_of_one_without_a_result(bench, end):
    portal = bench.send(SeriesDescription="venous")
    arterial = bench.send(SeriesDescription="arterial", SeriesNumber=4)
    native = bench.send(SeriesDescription="native")
    bench.worker.fails[portal] = end
    bench.decide()
    assert bench.worker.done == [portal, arterial]
    assert bench.state(arterial) is State.DONE
    assert bench.state(portal) is State(end) if isinstance(end, Verdict) else State.FAILED
    assert bench.job(native).reason.startswith("series 4 of the study was preferred")


def test_a_series_that_rules_exclude_is_not_held(bench):
    scout = bench.send(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    held = bench.send()
    wait_until(lambda: bench.choice.round() or not bench.state(scout).active)
    assert bench.state(held) is State.HELD


def test_a_damaged_series_is_not_held(bench):
    damaged = bench.send()
    for path in bench.job(damaged).paths:
        path.write_bytes(b"no DICOM" * 100)
    wait_until(lambda: bench.choice.round() or not bench.state(damaged).active)


def test_studies_are_apart(bench):
    series = [bench.send(), bench.receive(make_ct_series(slices=3))]
    bench.decide()
    assert sorted(bench.worker.done) == sorted(series)


def test_an_urgent_series_is_not_held_and_holds_no_other(bench):
    urgent = bench.send(sender="ER", urgent=PriorityRules(calling=("ER",)))
    wait_until(lambda: bench.state(urgent) is State.DONE)
    routine = bench.send()
    bench.decide()
    assert bench.state(routine) is State.DONE


def test_a_series_that_a_person_asks_for_is_not_held(bench):
    asked = bench.send(sender=ASKED)
    wait_until(lambda: bench.state(asked) is State.DONE)


def test_a_series_that_is_held_goes_on_once_a_person_asks_for_it(bench):
    instances = bench.series()
    series = bench.receive(instances)
    assert bench.state(series) is State.HELD
    bench.receive(instances, sender=ASKED)
    wait_until(lambda: bench.state(series) is State.DONE)


@pytest.mark.parametrize("action", ["urge", "redo"])
def test_a_series_that_is_held_can_be_let_go_by_hand(bench, action):
    series = bench.send()
    assert getattr(bench.ledger, action)(bench.job(series))
    bench.polling.speed_up()
    wait_until(lambda: bench.state(series) is State.DONE)


@pytest.mark.parametrize("action", ["retry", "redo"])
def test_a_series_that_was_not_chosen_can_be_segmented_all_the_same(bench, action):
    bench.send(SeriesDescription="venous")
    other = bench.send(SeriesDescription="arterial")
    bench.decide()
    assert bench.state(other) is State.NOT_SELECTED
    assert getattr(bench.ledger, action)(bench.job(other))
    bench.polling.speed_up()
    wait_until(lambda: bench.state(other) is State.DONE)


def test_a_series_that_came_again_changed_takes_part_in_place_of_the_old(bench):
    instances = bench.series()
    old = bench.receive(instances)
    first = bench.job(old).id
    for instance in instances:
        instance.SeriesDescription = "venous"
    bench.receive(instances)
    bench.decide()
    assert bench.worker.done == [old]
    assert bench.ledger.find(first).state is State.SUPERSEDED


def test_a_series_that_comes_again_while_its_phase_is_measured_is_not_done_twice(bench):
    instances, other = bench.series(), bench.send(SeriesDescription="arterial")
    series = bench.receive(instances)
    first = bench.job(series).id

    def measure(paths):
        if bench.job(series).id == first:
            for instance in instances:
                instance.SeriesDescription = "venous"
            bench.receive(instances)
        return UNKNOWN

    bench.measure = measure
    bench.decide()
    assert bench.worker.done == [series]
    assert bench.state(series) is State.DONE
    assert bench.state(other) is State.NOT_SELECTED
    assert bench.ledger.find(first).state is State.SUPERSEDED


def test_a_restart_loses_nothing(bench):
    portal = bench.send(SeriesDescription="venous")
    arterial = bench.send(SeriesDescription="arterial")
    bench.choice.round()
    bench.restart()
    assert bench.state(portal) is State.HELD
    bench.decide()
    assert bench.worker.done == [portal]
    assert bench.state(arterial) is State.NOT_SELECTED


def test_a_crash_before_the_best_was_let_go_is_made_up_for(bench, monkeypatch):
    portal = bench.send(SeriesDescription="venous")
    arterial = bench.send(SeriesDescription="arterial")
    bench.ahead_s = LATER_S
    with monkeypatch.context() as crash:
        crash.setattr(StudyChoice, "_let_go", lambda *_: None)
        bench.choice.round()
    assert bench.state(portal) is State.HELD
    bench.renew()
    bench.settle()
    assert bench.worker.done == [portal]
    assert bench.state(arterial) is State.NOT_SELECTED


def test_what_was_held_goes_on_once_no_choice_is_configured(bench):
    series = [bench.send(), bench.send()]
    bench.renew(Rules())
    bench.settle()
    assert sorted(bench.worker.done) == sorted(series)
