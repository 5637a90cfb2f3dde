"""Records of workflows and worker survive the store, also those that Hepar 0.1 wrote."""

from pathlib import Path

import pytest

from dicom_node.deliver.attempts import ConfirmAnswer, Delivered, Missing, SendAnswer
from dicom_node.jobs.records import DeliveryTask, SegmentResult, SeriesTask
from dicom_node.pipeline.outcome import Outcome, Verdict
from dicom_node.results.objects import ObjectKind

SEG = DeliveryTask("1.2", "archive", "seg", Path("/r/job.dcm"))


@pytest.mark.parametrize(
    "record",
    [
        SeriesTask("1.1", "1.2", (Path("/a.dcm"), Path("/b.dcm"))),
        SEG,
        SegmentResult(Outcome(Verdict.SEGMENTED, seg=Path("/r/job.dcm")), (SEG,)),
        SendAnswer("away", 0.5),
        ConfirmAnswer("no report", missing=Missing.DENIED),
        ConfirmAnswer(by="C-FIND"),
        Delivered(3, 0.5, "C-FIND"),
    ],
)
def test_a_record_is_read_as_it_was_written(record):
    assert type(record).from_json(record.to_json()) == record


def test_a_task_is_one_argument():
    assert DeliveryTask.from_arguments([SEG.to_json()]) == SEG


def test_arguments_of_0_1_are_read():
    series = SeriesTask.from_arguments(["1.1", "1.2", ["/a.dcm"]])
    assert series == SeriesTask("1.1", "1.2", (Path("/a.dcm"),))
    report = DeliveryTask.from_arguments(["1.2", "shelf", "/r/job.report-lesions.dcm"])
    file = Path("/r/job.report-lesions.dcm")
    assert report == DeliveryTask("1.2", "shelf", "report-lesions", file, ObjectKind.REPORT)
    assert DeliveryTask.from_arguments(["1.2", "archive", "/r/job.dcm"]) == SEG


def test_results_of_0_1_are_read():
    outcome = {"verdict": "segmented", "seg": "/r/job.dcm"}
    stored = {"outcome": outcome, "deliveries": [["archive", "seg", "/r/job.dcm"]]}
    assert SegmentResult.from_json(stored).deliveries[0].file == SEG.file
    assert ConfirmAnswer.from_json({"refused": "", "by": "C-FIND"}).by == "C-FIND"
    lost = {"refused": "no such object", "lost": True}
    assert ConfirmAnswer.from_json(lost).missing is Missing.DENIED
    assert Delivered.from_json({"attempts": 1, "seconds": 0.1}).confirmed == ""


def test_a_row_whose_input_is_gone_is_still_a_job():
    assert SeriesTask.from_arguments(()) == SeriesTask("", "", ())
