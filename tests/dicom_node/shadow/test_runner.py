"""The thread of a shadow model, and what happens to a series while it computes."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from dicom_node.corrections import shadow_comparison
from dicom_node.corrections.kept_labels import Drawing, write_drawing
from dicom_node.corrections.register import CorrectionRegister
from dicom_node.data_folder import DataFolder
from dicom_node.jobs.content_digest import content_digest, file_stamp
from dicom_node.jobs.records import SeriesTask
from dicom_node.jobs.workflows import SUPERSEDED_BY
from dicom_node.shadow.runner import Jobs, ShadowRunner
from dicom_node.shadow.work_register import DEATHS, OPENING, ShadowState, WorkRegister
from engine.errors import EngineError
from engine.serving.turns import DeviceQueue
from engine.volume import Label
from tests.dicom_node.corrections.drawn import correction, drawn_on
from tests.waiting import wait_until

JOB, DIGEST = "job", "cd" * 32


class ShadowModel:
    """Stands in for a segmenter that opens at once and marks what it was made with."""

    model = SimpleNamespace(name="toy", version="2", digest=DIGEST)

    def __init__(self, made, meanwhile=lambda: None):
        self.made, self.meanwhile, self.series = made, meanwhile, 0

    def now(self):
        return SimpleNamespace(device=SimpleNamespace(name="toy device"))

    def run(self, work):
        self.series += 1
        self.meanwhile()
        return self.made


@pytest.fixture
def desk(ct_series, tmp_path):
    """A job with a result, whose series waits for the shadow."""
    data = DataFolder(tmp_path)
    data.results.mkdir()
    sources = ct_series(slices=6, rows=16, columns=16)
    paths = tuple(tmp_path / f"{number}" for number in range(len(sources)))
    for path, source in zip(paths, sources, strict=True):
        source.save_as(path, enforce_file_format=True)
    task = SeriesTask("1.2", "1.2.3", paths, content_digest(paths), stamp=file_stamp(paths))
    register = WorkRegister(data.shadow)
    register.add(JOB, DIGEST, "toy 2", task)
    made = [(data.results / f"{JOB}.labels.npz", drawn_on(sources).kept)]
    return SimpleNamespace(data=data, paths=paths, register=register, made=made)


def ended(desk, model, **attributes):
    """Let the shadow work until its series is dealt with; return its row, if there is one left."""
    status = SimpleNamespace(status="SUCCESS", attributes=attributes, output=None)
    jobs = Jobs(status=lambda job: status, busy=lambda: False)
    runner = ShadowRunner(model, desk.data, DeviceQueue(), jobs)
    open_states = ShadowState.WAITING, ShadowState.COMPUTING
    with runner.working():
        wait_until(lambda: all(e.state not in open_states for e in desk.register.of(JOB)))
    return next(iter(desk.register.of(JOB)), None)


def shadow_files(desk):
    return desk.data.shadow_files_of(JOB)


def test_a_series_is_computed_once_and_its_labels_lie_beside_the_kept_ones(desk):
    model = ShadowModel(desk.made)
    assert ended(desk, model).state is ShadowState.COMPUTED
    assert ended(desk, model).state is ShadowState.COMPUTED
    assert model.series == 1
    assert shadow_files(desk) == [desk.data.results / f"{JOB}.shadow-{DIGEST[:12]}.npz"]


def test_a_job_that_is_removed_while_the_shadow_computes_leaves_no_file(desk):
    model = ShadowModel(desk.made, lambda: desk.register.forget(JOB))
    assert ended(desk, model) is None
    assert model.series == 1
    assert shadow_files(desk) == []


def test_a_series_that_changes_while_the_shadow_computes_has_no_labels(desk, ct_series):
    def change():
        other = ct_series(slices=6, rows=16, columns=16)[0]
        other.PatientID = "another"
        other.save_as(desk.paths[0], enforce_file_format=True)

    work = ended(desk, ShadowModel(desk.made, change))
    assert work.state is ShadowState.NOT_COMPUTED
    assert "came again while it was computed" in work.reason
    assert shadow_files(desk) == []


def opened(desk, model):
    """Let a process begin with the shadow, and end once it has opened it or given it up."""
    desk.register.take_up(DIGEST)
    runner = ShadowRunner(model, desk.data, DeviceQueue(), Jobs(busy=lambda: False))
    with runner.working():
        wait_until(lambda: model.openings or runner.trouble)
    model.openings = 0
    return runner


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_model_of_which_the_node_dies_three_times_at_its_opening_is_not_opened_again(desk):
    class Deadly(ShadowModel):
        openings = 0

        def now(self):
            self.openings += 1
            raise SystemExit  # which ends the thread, as a death of the process would

    troubles = [opened(desk, Deadly(desk.made)).trouble for _ in range(DEATHS + 2)]
    assert troubles[:DEATHS] == [""] * DEATHS
    assert all("died 3 times" in each for each in troubles[DEATHS:])


def test_why_a_model_cannot_be_opened_stands_in_the_register_until_it_can(desk):
    class Failing(ShadowModel):
        openings = 0

        def now(self):
            self.openings += 1
            raise EngineError("no device")

    assert opened(desk, Failing(desk.made)).trouble == "no device"
    assert desk.register.trouble(DIGEST) == "no device"
    assert ended(desk, ShadowModel(desk.made)).state is ShadowState.COMPUTED
    assert desk.register.trouble(DIGEST) == ""


def test_a_superseded_series_is_not_computed(desk):
    model = ShadowModel(desk.made)
    work = ended(desk, model, **{SUPERSEDED_BY: "newer"})
    assert work.reason == "its job was superseded by job newer"
    assert (model.series, shadow_files(desk)) == (0, [])


def test_a_model_that_fails_of_a_series_is_a_remark_without_the_words_of_its_error(desk):
    def fail():
        raise KeyError("Doe^Jane")

    work = ended(desk, ShadowModel(desk.made, fail))
    assert work.state is ShadowState.NOT_COMPUTED
    assert "KeyError" in work.reason
    assert "Doe" not in work.reason


@pytest.mark.parametrize("learnt", [False, True])
def test_a_shadow_is_not_compared_on_a_patient_whom_it_learnt_from(desk, learnt):
    (path, kept) = desk.made[0]
    write_drawing(desk.data.drawing(path.name, "1.9"), Drawing(kept.label_map, frozenset(Label)))
    register = CorrectionRegister(desk.data.corrections)
    register.keep(correction(uid="1.9", job=JOB, stack=path.name))
    desk.made = [(path, replace(kept, learnt=learnt))]
    ended(desk, ShadowModel(desk.made))
    wait_until(lambda: register.all()[0].shadows)
    (compared,) = register.all()[0].shadows
    assert bool(compared.dice) is not learnt
    assert compared.reason == ("the model has learnt from this patient" if learnt else "")


def test_a_comparison_is_noted_as_the_opening_is_so_that_a_death_of_it_counts(desk, monkeypatch):
    (path, kept) = desk.made[0]
    write_drawing(desk.data.drawing(path.name, "1.9"), Drawing(kept.label_map, frozenset(Label)))
    CorrectionRegister(desk.data.corrections).keep(correction(uid="1.9", job=JOB, stack=path.name))
    states, dice_of = [], shadow_comparison.dice_of

    def compared(*given):
        states.extend(each.state for each in desk.register.of(OPENING))
        return dice_of(*given)

    monkeypatch.setattr(shadow_comparison, "dice_of", compared)
    ended(desk, ShadowModel(desk.made))
    wait_until(lambda: states)
    wait_until(lambda: [each.state for each in desk.register.of(OPENING)] == [ShadowState.WAITING])
    assert states == [ShadowState.COMPUTING]
