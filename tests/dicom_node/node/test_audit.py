"""Events that a running node puts on its audit trail."""

from datetime import UTC, datetime, timedelta

import pytest
from pydicom import dcmread

from dicom_node.audit.trail import Destination, auditing
from dicom_node.config.settings import Settings
from dicom_node.data_folder import DataFolder
from dicom_node.deliver.c_store_scu import StorePeer
from dicom_node.errors import PeerRefused
from dicom_node.jobs.ledger import open_ledger
from dicom_node.jobs.upkeep.cleanup import sweep
from dicom_node.jobs.upkeep.retention import Retention
from dicom_node.node.node import running_node
from dicom_node.node.receiving import _count
from dicom_node.receive.header import SeriesKey
from dicom_node.receive.spool import Spool
from dicom_node.results.phantom import write_series
from engine.phantom import make_phantom
from tests.dicom_node.audit.schema import parsed
from tests.dicom_node.node_process import Thresholds
from tests.engine.toy_model import write_toy_model
from tests.waiting import wait_until

AT_ONCE = Retention(timedelta(), timedelta(), timedelta(), timedelta())


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audited")
    return Settings(
        node={"data": folder / "data", "port": 0},
        receive={"quiet_s": 0.3, "resend_s": 0, "keep_free_mb": 0},
        engine={"model": write_toy_model(folder / "model")},
        callers=[{"ae_title": "CT1"}],
        peers={"shelf": {"kind": "folder", "folder": folder / "shelf", "objects": ["seg"]}},
        audit={"file": folder / "audit.xml"},
    )


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    made = make_phantom(shape=(20, 64, 64), spacing_mm=(10, 6, 6), noise_hu=2, tumours=0)
    return write_series(made, "1.2.826.0.1.77", tmp_path_factory.mktemp("series"))


@pytest.fixture(scope="module")
def trail(settings, series):
    """What a node wrote that received, segmented, delivered and removed one series."""
    with running_node(settings, open_device=lambda model, settings: Thresholds()) as node:
        with pytest.raises(PeerRefused):
            StorePeer("node", "HEPAR", *node.address, "EVIL").echo()
        scanner = StorePeer("node", "HEPAR", *node.address, "CT1")
        first = dcmread(series[0])
        context = (first.SOPClassUID, first.file_meta.TransferSyntaxUID)
        with scanner.associated([context]) as association:  # one: the series is complete once
            for path in series:
                assert association.send_c_store(path).Status == 0x0000
        wait_until(lambda: 'UserID="shelf"' in settings.audit.file.read_text())
        data = DataFolder(settings.node.data)
        with open_ledger(settings.database_url) as ledger:
            wait_until(lambda: all(job.finished for job in ledger.jobs()))
            later = datetime.now(UTC) + timedelta(days=1)
            assert sweep(ledger, Spool(data.spool, 0), data, AT_ONCE, later)
    return [parsed(line) for line in settings.audit.file.read_text().splitlines()]


def events(trail, code):
    path = "EventIdentification/EventID"
    return [each for each in trail if each.find(path).get("csd-code") == code]


def users(event):
    return [each.get("UserID") for each in event.findall("ActiveParticipant")]


def instances(event):
    return sum(int(each.get("NumberOfInstances")) for each in event.iter("SOPClass"))


def study(event):
    return event.find("ParticipantObjectIdentification").get("ParticipantObjectID")


def test_it_begins_with_the_start_and_ends_with_the_stop(trail):
    types = [each.find(".//EventTypeCode") for each in (trail[0], trail[-1])]
    assert [each.get("csd-code") for each in types] == ["110120", "110121"]


def test_a_series_that_came_in_is_one_event_with_its_sender_and_its_instances(trail, series):
    came, _ = events(trail, "110104")
    assert users(came) == ["HEPAR", "CT1"]
    assert study(came) == dcmread(series[0]).StudyInstanceUID
    assert instances(came) == len(series)


def test_a_result_that_was_delivered_is_an_event_with_its_peer(trail, series):
    _, went = events(trail, "110104")
    assert users(went) == ["HEPAR", "shelf"]
    assert study(went) == dcmread(series[0]).StudyInstanceUID
    assert instances(went) == 1


def test_a_refused_caller_is_a_security_alert(trail):
    (alert,) = events(trail, "110113")
    assert users(alert) == ["HEPAR", "EVIL"]


def test_files_that_were_removed_are_an_event(trail, series):
    removed = events(trail, "110103")
    assert [study(each) for each in removed] == [dcmread(series[0]).StudyInstanceUID]
    assert instances(removed[0]) == len(series) + 1


def test_neither_name_nor_number_of_the_patient_is_on_it(trail, settings, series):
    text = settings.audit.file.read_text()
    header = dcmread(series[0])
    assert str(header.PatientName) not in text
    assert f'"{header.PatientID}"' not in text
    assert header.PatientID not in text.replace(header.StudyInstanceUID, "")


def test_a_question_to_an_archive_is_an_event(tmp_path):
    class Archive:
        name = "archive"

        def series(self, study, series):
            return []

    file = tmp_path / "audit.xml"
    with auditing(Destination(file), "HEPAR"):
        assert _count(Archive(), Archive(), SeriesKey("1.2", "1.3")) is None
    (query,) = events([parsed(line) for line in file.read_text().splitlines()], "110112")
    assert users(query) == ["HEPAR", "archive"]
