"""A running node, from C-STORE to its peers."""

import socket
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid
from pynetdicom import AE, evt
from pynetdicom.sop_class import CTImageStorage, SegmentationStorage

from dicom_node.config.settings import Settings
from dicom_node.corrections.register import CorrectionRegister
from dicom_node.data_folder import DataFolder
from dicom_node.deliver.c_store_scu import StorePeer
from dicom_node.errors import AlreadyRunning
from dicom_node.jobs.ledger import open_ledger
from dicom_node.jobs.state import State
from dicom_node.jobs.submit.asked_for import ASKED
from dicom_node.jobs.upkeep.cleanup import discard, sweep
from dicom_node.jobs.upkeep.retention import Retention
from dicom_node.node.node import running_node
from dicom_node.node.receiving import receiving
from dicom_node.receive.spool import Spool
from dicom_node.results.phantom import write_series
from dicom_node.verify.report import read_groups
from engine.phantom import make_phantom
from tests.dicom_node.node_process import Thresholds, wait_until
from tests.engine.toy_model import write_toy_model


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


ARCHIVE_PORT = free_port()


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("node")
    return Settings(
        node={"data": folder / "data", "port": 0},
        receive={"quiet_s": 0.3, "resend_s": 0, "keep_free_mb": 0},
        engine={"model": write_toy_model(folder / "model")},
        jobs={"first_pause_s": 0.1, "longest_pause_s": 0.2},
        peers={
            "shelf": {"kind": "folder", "folder": folder / "shelf", "objects": ["seg", "report"]},
            "archive": {
                "kind": "store",
                "ae_title": "ARCHIVE",
                "host": "127.0.0.1",
                "port": ARCHIVE_PORT,
            },
        },
    )


@pytest.fixture(scope="module")
def node(settings):
    with running_node(settings, open_device=lambda model, settings: Thresholds()) as node:
        yield StorePeer("node", node.ae_title, *node.address)


@pytest.fixture(scope="module")
def ledger(settings, node):
    with open_ledger(settings.database_url) as ledger:
        yield ledger


@pytest.fixture
def phantom(tmp_path):
    """Files of a small phantom, a series of its own each time."""
    made = make_phantom(shape=(20, 64, 64), spacing_mm=(10, 6, 6), noise_hu=2, tumours=0)
    return write_series(made, generate_uid(), tmp_path / "series")


@contextmanager
def archive(*sop_classes):
    """An archive that takes these SOP classes; yields the SOP instances that it got."""
    got = []

    def keep(event):
        got.append(str(event.request.AffectedSOPInstanceUID))
        return 0x0000

    ae = AE("ARCHIVE")
    for each in sop_classes:
        ae.add_supported_context(each)
    server = ae.start_server(
        ("127.0.0.1", ARCHIVE_PORT), block=False, evt_handlers=[(evt.EVT_C_STORE, keep)]
    )
    try:
        yield got
    finally:
        server.shutdown()


def job_of(ledger, paths, *states):
    """Wait until the job on exactly these instances is in one of these states, and return it."""
    uid = dcmread(paths[0]).SeriesInstanceUID
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        jobs = [
            job for job in ledger.jobs() if (job.series_uid, len(job.paths)) == (uid, len(paths))
        ]
        if jobs and jobs[-1].state in states:
            return jobs[-1]
        time.sleep(0.05)
    raise AssertionError(f"waited too long; last seen: {jobs}")


def test_a_series_is_segmented_and_delivered_to_every_peer(node, ledger, phantom, settings):
    with archive(SegmentationStorage) as got:
        node.send_many(phantom)
        job = job_of(ledger, phantom, State.DONE)
    assert got == [job.outcome.seg_uid]
    seg = dcmread(settings.peers["shelf"].folder / f"{job.outcome.seg_uid}.dcm")
    assert seg.Modality == "SEG"
    assert job.outcome.millilitres["liver"] > 500
    stages = ["read", "search", "compute", "clean", "measure", "write", "verify", "others"]
    assert list(job.outcome.seconds) == stages


def test_known_work_is_done_again_only_when_a_person_asks(node, ledger, phantom, settings):
    """Orthanc's button calls under an AE title of its own; routers repeat themselves."""
    with archive(SegmentationStorage) as got:
        node.send_many(phantom)
        first = job_of(ledger, phantom, State.DONE)
        node.send_many(phantom)
        replace(node, calling_ae_title=ASKED).send_many(phantom)
        deadline = time.monotonic() + 120
        while len(got) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        again = job_of(ledger, phantom, State.DONE)
    assert again.id == first.id
    assert len(got) == 2  # and not three


def test_a_peer_gets_the_objects_of_its_profile(node, ledger, phantom, settings):
    with archive(SegmentationStorage) as got:
        node.send_many(phantom)
        job = job_of(ledger, phantom, State.DONE)
    assert [each.to for each in job.deliveries] == ["archive", "shelf", "shelf (report)"]
    assert got == [job.outcome.seg_uid]
    report = dcmread(job.outcome.files["report"])
    kept = dcmread(settings.peers["shelf"].folder / f"{report.SOPInstanceUID}.dcm")
    assert kept == report
    assert read_groups(report)[0].segment == (job.outcome.seg_uid, 1)


def corrected_by_a_person(seg, path):
    """A SEG as a person saves it who changed nothing, in a series of its own."""
    drawn = dcmread(seg)
    drawn.SOPInstanceUID = drawn.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    drawn.SeriesInstanceUID, drawn.Manufacturer = generate_uid(), "Viewer"
    for segment in drawn.SegmentSequence:
        segment.SegmentAlgorithmType = "MANUAL"
    drawn.save_as(path)
    return path


def test_a_correction_is_compared_with_its_result_also_once_the_results_are_removed(
    node, ledger, phantom, settings, tmp_path
):
    with archive(SegmentationStorage):
        node.send_many(phantom)
        job = job_of(ledger, phantom, State.DONE)
    data = DataFolder(settings.node.data)
    register = CorrectionRegister(data.corrections)
    node.send_many([corrected_by_a_person(job.outcome.seg, tmp_path / "first.dcm")])
    second = corrected_by_a_person(job.outcome.seg, tmp_path / "second.dcm")

    def compared():
        return [each for each in register.of(job.id) if not each.reason]

    wait_until(lambda: len(compared()) == 1, what="the correction is compared")
    for file in data.results_of(job.id):
        file.unlink()
    node.send_many([second])
    wait_until(lambda: len(compared()) == 2, what="the second one is compared")
    assert [each.dice for each in register.of(job.id)] == [{"liver": 1.0}] * 2
    assert {each.scanner.name for each in register.of(job.id)} == {"Hepar Phantom"}
    # Registered, so their files go; the archive has them.
    seen = {each.uid for each in register.of(job.id)}
    wait_until(lambda: not seen & {path.stem for path in data.spool.rglob("*.dcm")})
    discard(job, ledger, Spool(data.spool), data)
    assert data.kept_labels_of(job.id) == []


def test_an_archive_that_was_away_gets_its_seg_later(node, ledger, phantom):
    node.send_many(phantom)
    job = job_of(ledger, phantom, State.DELIVERING)
    to_archive = next(each for each in job.deliveries if each.peer == "archive")
    deadline = time.monotonic() + 30
    while not ledger.last_refusal(to_archive) and time.monotonic() < deadline:
        time.sleep(0.05)
    with archive(SegmentationStorage) as got:
        job = job_of(ledger, phantom, State.DONE)
    assert got == [job.outcome.seg_uid]


def test_a_peer_that_refuses_segs_fails_the_job_but_stops_no_other_peer(
    node, ledger, phantom, settings
):
    with archive(CTImageStorage):
        node.send_many(phantom)
        job = job_of(ledger, phantom, State.FAILED)
    assert "archive: " in job.reason
    assert [(each.peer, each.state) for each in job.deliveries] == [
        ("archive", State.FAILED),
        ("shelf", State.DONE),
        ("shelf", State.DONE),
    ]
    with archive(SegmentationStorage) as got:
        assert ledger.retry(job) == ["deliver to archive"]
        job_of(ledger, phantom, State.DONE)
    assert got == [job.outcome.seg_uid]


def test_the_same_instances_twice_are_one_job(node, ledger, phantom):
    with archive(SegmentationStorage) as got:
        node.send_many(phantom)
        job_of(ledger, phantom, State.DONE)
        node.send_many(phantom[::-1])
        time.sleep(1)
    uid = dcmread(phantom[0]).SeriesInstanceUID
    assert len([job for job in ledger.jobs() if job.series_uid == uid]) == 1
    assert len(got) == 1


def test_late_instances_replace_what_was_not_delivered_yet(node, ledger, phantom):
    node.send_many(phantom[:-3])
    part = job_of(ledger, phantom[:-3], State.DELIVERING)
    node.send_many(phantom[-3:])
    job_of(ledger, phantom, State.DELIVERING)
    with archive(SegmentationStorage) as got:
        job = job_of(ledger, phantom, State.DONE)
        time.sleep(0.5)
    assert got == [job.outcome.seg_uid]
    assert ledger.find(part.id).state is State.SUPERSEDED


def test_a_series_with_a_gap_is_refused_with_the_reason_and_others_go_on(node, ledger, phantom):
    del phantom[9]
    node.send_many(phantom)
    job = job_of(ledger, phantom, State.REFUSED)
    assert "gap" in job.reason.lower()
    assert all(path.exists() for path in job.paths)


def test_a_localizer_is_not_selected_and_the_rule_is_named(node, ledger, tmp_path):
    made = make_phantom(shape=(6, 32, 32), spacing_mm=(5, 3, 3))
    scout = write_series(made, generate_uid(), tmp_path / "scout")
    for path in scout:
        instance = dcmread(path)
        instance.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
        instance.save_as(path)
    node.send_many(scout)
    assert "LOCALIZER" in job_of(ledger, scout, State.NOT_SELECTED).reason


def test_a_single_slice_is_refused_by_its_name(node, ledger, phantom):
    node.send_many(phantom[:1])
    assert "single slice" in job_of(ledger, phantom[:1], State.REFUSED).reason


def test_a_series_without_liver_sends_nothing_and_says_so(node, ledger, tmp_path):
    made = make_phantom(shape=(6, 32, 32), spacing_mm=(5, 3, 3), noise_hu=0)
    made.volume.hu[:] = -1000
    air = write_series(made, generate_uid(), tmp_path / "air")
    node.send_many(air)
    job = job_of(ledger, air, State.NOTHING_FOUND)
    assert "no voxel was marked as liver" in job.reason
    assert job.deliveries == ()


def test_a_removed_job_takes_its_files_along_and_may_come_again(node, ledger, phantom, settings):
    one = phantom[:1]
    node.send_many(one)
    job = job_of(ledger, one, State.REFUSED)
    data = DataFolder(settings.node.data)
    discard(job, ledger, Spool(data.spool), data)
    assert not any(path.exists() for path in job.paths)
    assert job.id not in [each.id for each in ledger.jobs()]
    node.send_many(one)
    assert job_of(ledger, one, State.REFUSED).id == job.id


def test_what_finished_jobs_leave_behind_is_swept_and_failed_jobs_keep_theirs(
    node, ledger, phantom, settings
):
    with archive(SegmentationStorage):
        node.send_many(phantom)
        done = job_of(ledger, phantom, State.DONE)
    failed = next(job for job in ledger.jobs() if job.state is State.REFUSED)
    data = DataFolder(settings.node.data)
    hour, now = timedelta(hours=1), datetime.now(UTC)
    kept = Retention(finished=hour, failed=2 * hour, rows=3 * hour, delivered=3 * hour)
    assert sweep(ledger, Spool(data.spool), data, kept, now) == 0
    assert sweep(ledger, Spool(data.spool), data, kept, now + 1.5 * hour) > 0
    assert not any(path.exists() for path in (*done.paths, *data.results_of(done.id)))
    assert all(path.exists() for path in failed.paths)


def test_a_port_that_is_taken_is_named(node, settings, tmp_path):
    taken = settings.model_copy(
        update={
            "node": settings.node.model_copy(update={"data": tmp_path, "port": node.port}),
        }
    )
    with (
        pytest.raises(AlreadyRunning, match=f"cannot listen on 127.0.0.1:{node.port}"),
        receiving(Spool(tmp_path), "digest", taken),
    ):
        pass


def test_a_second_node_on_the_same_data_folder_is_refused(node, settings):
    with (
        pytest.raises(AlreadyRunning, match="another node works in"),
        running_node(settings, open_device=lambda model, settings: Thresholds()),
    ):
        pass
