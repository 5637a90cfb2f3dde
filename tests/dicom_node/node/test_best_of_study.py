"""A node that segments the best series of a study: what the job list, HTTP and the archive show."""

import json
from urllib.request import urlopen

from pydicom import dcmread
from pydicom.uid import BasicTextSRStorage, generate_uid

from dicom_node.config.settings import Settings
from dicom_node.deliver.c_store_scu import StorePeer
from dicom_node.jobs.ledger import open_ledger
from dicom_node.jobs.state import State
from dicom_node.jobs.submit.study_choice import StudyChoice
from dicom_node.node.node import running_node
from tests.dicom_node.every_ending import change, phantom, send_all
from tests.dicom_node.node_process import Thresholds
from tests.engine.toy_model import write_toy_model
from tests.waiting import wait_until


def test_one_series_is_segmented_and_the_other_has_a_visible_answer(tmp_path, monkeypatch):
    # Whatever the machine's load: the study is quiet once both series are here.
    monkeypatch.setattr(StudyChoice, "_is_quiet", lambda self, study, jobs: len(jobs) == 2)
    settings = Settings(
        node={"data": tmp_path / "data", "port": 0},
        receive={"quiet_s": 0.2, "resend_s": 0, "keep_free_mb": 0},
        select={"best_of_study": True},
        engine={"model": write_toy_model(tmp_path / "model")},
        http={"port": 0},
        peers={
            "archive": {"kind": "folder", "folder": tmp_path / "to", "receipt": ["not_selected"]}
        },
    )
    study = generate_uid()
    series = {name: phantom(tmp_path / name) for name in ("arterial", "venous")}
    for number, (name, paths) in enumerate(series.items(), start=4):
        for path in paths:
            change(
                path,
                path,
                StudyInstanceUID=study,
                SeriesDescription=name,
                SeriesNumber=number,
            )
    with (
        running_node(settings, open_device=lambda model, settings: Thresholds()) as node,
        open_ledger(settings.database_url) as ledger,
    ):
        send_all(StorePeer("node", node.ae_title, *node.address), series)
        wait_until(lambda: len(ledger.jobs()) == 2)
        wait_until(lambda: all(job.finished for job in ledger.jobs()))
        jobs = {job.series_uid: job for job in ledger.jobs()}
        arterial = jobs[dcmread(series["arterial"][0]).SeriesInstanceUID]
        address = "http://{}:{}/jobs?study={}".format(*node.http, study)
        listed = json.loads(urlopen(address).read())
        (public,) = [each for each in listed if each["series"] == arterial.series_uid]
    reason = (
        "series 5 of the study was preferred because its phase is portal venous (by its name),"
        " that of this one arterial (by its name)"
    )
    assert jobs[dcmread(series["venous"][0]).SeriesInstanceUID].state is State.DONE
    assert (arterial.state, arterial.reason) == (State.NOT_SELECTED, reason)
    assert (public["state"], public["reason"]) == ("not selected", reason)
    receipts = [
        each
        for path in (tmp_path / "to").glob("*.dcm")
        if (each := dcmread(path)).SOPClassUID == BasicTextSRStorage
    ]
    (text,) = [each.ContentSequence[0].TextValue for each in receipts]
    assert text == f"Hepar: no result for series 4: not selected: {reason}"
