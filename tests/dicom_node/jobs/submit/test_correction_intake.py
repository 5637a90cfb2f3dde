"""A SEG that comes in is compared with the result that it corrects, or says why it is not."""

from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid

from dicom_node.corrections.kept_labels import write_kept_labels
from dicom_node.corrections.register import CorrectionRegister
from dicom_node.data_folder import DataFolder
from dicom_node.errors import ResultPending
from dicom_node.jobs.content_digest import file_stamp
from dicom_node.jobs.submit import correction_intake
from dicom_node.jobs.submit.correction_intake import CorrectionIntake, corrections_among
from dicom_node.jobs.workflows import SUPERSEDED_BY
from dicom_node.receive.header import SeriesKey
from dicom_node.receive.spool import Spool
from engine.volume import Label
from tests.dicom_node.corrections.drawn import SCANNER, Drawn, drawn_on


@dataclass
class Workflow:
    """A segment workflow, as far as the intake looks at it."""

    workflow_id: str
    created: datetime = datetime(2026, 11, 1)
    superseded_by: str = ""
    status: str = "SUCCESS"
    output: None = None

    @property
    def created_at(self) -> float:
        return self.created.timestamp() * 1000

    @property
    def attributes(self) -> dict[str, str]:
        return {SUPERSEDED_BY: self.superseded_by}


@dataclass
class Desk:
    """An intake, and the jobs on the only series."""

    intake: CorrectionIntake
    drawn: Drawn
    jobs: list[Workflow]
    spool: Spool

    def keep_result(self, job: str = "job") -> None:
        self.intake.data.results.mkdir(exist_ok=True)
        write_kept_labels(self.intake.data.results / f"{job}.labels.npz", self.drawn.kept)

    def bring(self, seg: Any, written: str = "20261102101010"):
        """Receive a SEG; return what is registered last."""
        seg.ContentDate, seg.ContentTime = written[:8], written[8:]
        key = SeriesKey(str(seg.StudyInstanceUID), str(seg.SeriesInstanceUID))
        path = self.spool.put(key, str(seg.SOPInstanceUID), b"")
        seg.save_as(path, enforce_file_format=True)
        assert corrections_among([path]) == (path,)
        self.intake.take([path])
        found = CorrectionRegister(self.intake.data.corrections).all()
        return found[-1] if found else None


@pytest.fixture
def desk(ct_series, tmp_path, monkeypatch):
    data = DataFolder(tmp_path)
    drawn = drawn_on(ct_series(slices=6, rows=16, columns=16))
    made = Desk(CorrectionIntake(data), drawn, [Workflow("job")], Spool(data.spool))
    series = drawn.sources[0].SeriesInstanceUID
    monkeypatch.setattr(
        correction_intake, "jobs_of", lambda uid: made.jobs if uid == series else []
    )
    return made


def changed(desk):
    labels = desk.drawn.result.labels.copy()
    labels[1:5, 2:7, 2:12] = Label.BACKGROUND
    return labels


def test_what_a_person_changed_is_compared_with_the_result(desk):
    desk.keep_result()
    found = desk.bring(desk.drawn.seg(changed(desk)))
    assert (found.job, found.scanner, found.model, found.reason) == ("job", SCANNER, "toy 1", "")
    assert found.dice == {"liver": pytest.approx(2 / 3), "tumour": 0.0}


def test_a_shadow_that_has_computed_before_is_compared_at_once(desk):
    desk.keep_result()
    desk.intake = replace(desk.intake, shadow="cd" * 32)
    shadow = desk.intake.data.shadow_labels("job.labels.npz", "cd" * 32)
    write_kept_labels(shadow, replace(desk.drawn.kept, model="shadow 2"))
    found = desk.bring(desk.drawn.seg(changed(desk)))
    assert [(each.model, each.dice) for each in found.shadows] == [("shadow 2", found.dice)]


def test_what_a_machine_drew_is_no_correction(desk):
    desk.keep_result()
    assert desk.bring(desk.drawn.seg(changed(desk), by="AUTOMATIC")) is None


def test_what_a_person_drew_beside_a_machines_liver_and_tumours_is_none_of_them(desk):
    desk.keep_result()
    seg = desk.drawn.seg(changed(desk), by="AUTOMATIC")
    vessel = deepcopy(seg.SegmentSequence[0])
    vessel.SegmentNumber, vessel.SegmentAlgorithmType = 3, "MANUAL"
    vessel.SegmentedPropertyTypeCodeSequence[0].CodeValue = "59820001"
    seg.SegmentSequence.append(vessel)
    found = desk.bring(seg)
    assert "liver and tumours are a machine's" in found.reason
    assert found.dice == {}


def test_the_newest_result_that_was_there_is_corrected(desk):
    desk.jobs = [Workflow("new", datetime(2026, 11, 5)), Workflow("job")]
    desk.keep_result("new")
    desk.keep_result("job")
    assert desk.bring(desk.drawn.seg(changed(desk)), "20261106101010").job == "new"
    assert desk.bring(desk.drawn.seg(changed(desk)), "20261104101010").job == "job"
    assert desk.bring(desk.drawn.seg(changed(desk)), "20251104101010").job == "new"  # no clock


def test_a_correction_of_a_superseded_result_names_the_newer_job(desk):
    desk.jobs = [
        Workflow("new", datetime(2026, 11, 5)),
        Workflow("job", superseded_by="new"),
    ]
    desk.keep_result("job")
    found = desk.bring(desk.drawn.seg(changed(desk)))
    assert found.job == "job"
    assert found.reason == "its result was superseded by job new; correct the result of that one"
    assert found.dice == {}


def test_the_stack_on_whose_grid_it_lies_is_compared(desk):
    other = drawn_on(desk.drawn.sources[1:] + desk.drawn.sources[:1])
    desk.keep_result("job.stack-b")
    write_kept_labels(
        desk.intake.data.results / "job.stack-a.labels.npz", moved(other.kept, "1.2.3")
    )
    found = desk.bring(desk.drawn.seg(changed(desk)))
    assert (found.reason, found.stack) == ("", "job.stack-b.labels.npz")
    assert found.dice["liver"] == pytest.approx(2 / 3)


def test_a_stack_whose_labels_are_damaged_holds_up_no_other(desk):
    desk.keep_result("job.stack-b")
    (desk.intake.data.results / "job.stack-a.labels.npz").write_bytes(b"cut off")
    assert desk.bring(desk.drawn.seg(changed(desk))).stack == "job.stack-b.labels.npz"


def moved(kept, frame):
    geometry = replace(kept.label_map.geometry, frame_of_reference=frame)
    return replace(kept, label_map=replace(kept.label_map, geometry=geometry))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda seg: setattr(seg, "FrameOfReferenceUID", "1.2.3"), "frame of reference 1.2.3"),
        (lambda seg: delattr(seg, "ReferencedSeriesSequence"), "does not name the one series"),
        (
            lambda seg: setattr(seg.ReferencedSeriesSequence[0], "SeriesInstanceUID", "1.2.3"),
            "no job on the series",
        ),
        (lambda seg: delattr(seg, "PerFrameFunctionalGroupsSequence"), "cannot be read"),
        (lambda seg: setattr(seg, "SegmentSequence", []), ""),
    ],
)
def test_what_cannot_be_compared_says_why(desk, spoil, reason):
    desk.keep_result()
    seg = desk.drawn.seg(changed(desk))
    spoil(seg)
    found = desk.bring(seg)
    if not reason:  # without segments nobody drew it
        assert found is None
        return
    assert reason in found.reason
    assert found.dice == {}


def test_a_file_that_breaks_off_says_so_and_is_not_offered_for_ever(desk):
    desk.keep_result()
    seg = desk.drawn.seg(changed(desk))
    key = SeriesKey(str(seg.StudyInstanceUID), str(seg.SeriesInstanceUID))
    path = desk.spool.put(key, str(seg.SOPInstanceUID), b"")
    seg.save_as(path, enforce_file_format=True)
    path.write_bytes(path.read_bytes()[:-1])
    desk.intake.take([path])
    (found,) = CorrectionRegister(desk.intake.data.corrections).all()
    assert found.reason


def test_a_correction_waits_for_the_result_that_is_being_computed(desk):
    desk.jobs = [Workflow("job", status="PENDING")]
    seg = desk.drawn.seg(changed(desk))
    with pytest.raises(ResultPending, match="job job has no result yet"):
        desk.bring(seg)
    (path,) = desk.spool.paths(SeriesKey(str(seg.StudyInstanceUID), str(seg.SeriesInstanceUID)))
    assert dcmread(path).SOPInstanceUID == seg.SOPInstanceUID
    desk.jobs = [Workflow("job")]
    assert "labels were removed" in desk.bring(seg).reason


def test_images_are_no_corrections(desk, tmp_path):
    path = tmp_path / f"{generate_uid()}.dcm"
    desk.drawn.sources[0].save_as(path, enforce_file_format=True)
    (tmp_path / "text").write_text("no DICOM")
    assert corrections_among([path, tmp_path / "text"]) == ()


def test_a_correction_of_a_patient_whom_the_model_learnt_from_does_not_count(desk):
    """As after a series is sent again to a model that was trained on its correction."""
    desk.keep_result()
    file = desk.intake.data.results / "job.labels.npz"
    write_kept_labels(file, replace(desk.drawn.kept, learnt=True))
    found = desk.bring(desk.drawn.seg(changed(desk)))
    assert (found.job, found.dice) == ("job", {})
    assert found.reason == "the model has learnt from this patient"


def waiting(desk, seg):
    """Receive a SEG and acknowledge it; return its file."""
    key = SeriesKey(str(seg.StudyInstanceUID), str(seg.SeriesInstanceUID))
    path = desk.spool.put(key, str(seg.SOPInstanceUID), b"")
    seg.save_as(path, enforce_file_format=True)
    desk.intake.acknowledge([path])
    return path


def known(desk):
    return CorrectionRegister(desk.intake.data.corrections).all()


def test_one_that_waits_is_listed_with_its_job_until_it_is_compared(desk):
    desk.keep_result()
    seg = desk.drawn.seg(changed(desk))
    path = waiting(desk, seg)
    (found,) = known(desk)
    series = desk.drawn.sources[0].SeriesInstanceUID
    assert (found.uid, found.job, found.series_uid) == (seg.SOPInstanceUID, "job", series)
    assert found.text == "not compared: it waits for its turn"
    desk.intake.take([path])
    (found,) = known(desk)
    assert found.dice["liver"] == pytest.approx(2 / 3)
    desk.intake.acknowledge([path])  # as after a kill, before its file was removed
    assert known(desk) == [found]


def test_what_a_machine_drew_or_nobody_can_read_does_not_wait(desk):
    waiting(desk, desk.drawn.seg(changed(desk), by="AUTOMATIC"))
    damaged = waiting(desk, desk.drawn.seg(changed(desk), by="AUTOMATIC"))
    damaged.write_bytes(damaged.read_bytes()[:400])
    desk.intake.acknowledge([damaged, damaged.with_suffix(".gone")])
    assert known(desk) == []


def test_one_whose_file_is_gone_or_became_a_machines_waits_no_more(desk):
    path = waiting(desk, desk.drawn.seg(changed(desk)))
    desk.intake.drop(path)
    assert "its file was removed" in known(desk)[0].reason
    seg = desk.drawn.seg(changed(desk))
    waiting(desk, seg)
    for item in seg.SegmentSequence:
        item.SegmentAlgorithmType = "AUTOMATIC"
    desk.intake.take([waiting(desk, seg)])
    assert "is a machine's" in known(desk)[1].reason


class PanicException(BaseException):
    """As pyo3 names what a decoder in Rust raises."""


def test_a_decoder_that_panics_is_a_reason_and_anything_else_ends_the_process(desk, monkeypatch):
    def decode(error):
        def raises(*_):
            raise error

        monkeypatch.setattr(correction_intake, "drawing_of", raises)
        return desk.bring(desk.drawn.seg(changed(desk)))

    desk.keep_result()
    assert decode(PanicException("Doe^Jane")).reason.startswith("it cannot be read: PanicException")
    with pytest.raises(KeyboardInterrupt):
        decode(KeyboardInterrupt())


def test_one_that_is_given_up_keeps_its_job_and_does_not_count(desk, caplog):
    desk.keep_result()
    path = waiting(desk, desk.drawn.seg(changed(desk)))
    stamp = file_stamp([path])
    assert not desk.intake.is_given_up(path, stamp)
    desk.intake.give_up(path, stamp, "the node died of it")
    (found,) = known(desk)
    assert (found.uid, found.job, found.reason) == (path.stem, "job", "the node died of it")
    assert desk.intake.is_given_up(path, stamp)
    assert not desk.intake.is_given_up(path, "another stamp")
    assert caplog.messages == [f"SEG {path.stem} is not compared: the node died of it"]
    desk.intake.acknowledge([path])  # as after a restart
    assert known(desk) == [found]
    desk.intake.take([path])  # as when it is sent again
    (found,) = known(desk)
    assert (found.reason, found.given_up) == ("", "")


def test_one_that_nobody_announced_is_given_up_too_and_one_that_was_compared_no_longer_counts(desk):
    unknown = desk.spool.put(SeriesKey("1.1", "1.2"), "1.3", b"no SEG")
    desk.intake.give_up(unknown, "stamp", "it failed")
    desk.keep_result()
    path = waiting(desk, desk.drawn.seg(changed(desk)))
    desk.intake.take([path])
    desk.intake.give_up(path, "stamp", "it failed")
    assert {each.uid: (each.reason, each.dice) for each in known(desk)} == {
        "1.3": ("it failed", {}),
        path.stem: ("it failed", {}),
    }
