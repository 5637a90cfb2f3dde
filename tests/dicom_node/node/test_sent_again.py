"""A series that comes again, in parts, changed or unchanged, from C-STORE to the delivered SEG."""

import threading
import time

import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid
from pynetdicom import AE, evt
from pynetdicom.sop_class import CTImageStorage

from dicom_node.config.settings import Settings
from dicom_node.deliver.c_store_scu import StorePeer
from dicom_node.jobs.ledger import open_ledger
from dicom_node.jobs.state import State
from dicom_node.jobs.steps.series_worker import predecessors
from dicom_node.net.reactor import install_reactor_pause
from dicom_node.node.node import running_node
from dicom_node.results.phantom import write_series
from engine.phantom import make_phantom
from tests.dicom_node.node_process import Thresholds, wait_until
from tests.engine.toy_model import write_toy_model

QUIET_S = 1.5


class Held(Thresholds):
    """A device that can be stopped in the middle of a series."""

    def __init__(self):
        self.may_run = threading.Event()
        self.may_run.set()
        self.running = threading.Event()

    def run(self, hu, spacing_mm):
        self.running.set()
        assert self.may_run.wait(60)
        return super().run(hu, spacing_mm)


class Archive:
    """A running node, what it is sent, and the folder to which it delivers."""

    def __init__(self, folder, node, ledger, device):
        self.folder, self.ledger, self.device = folder, ledger, device
        self.peer = StorePeer("node", node.ae_title, *node.address)

    def phantom(self, name):
        made = make_phantom(shape=(10, 64, 64), spacing_mm=(20, 6, 6), noise_hu=2, tumours=0)
        return write_series(made, generate_uid(), self.folder / name)

    def jobs(self, paths):
        series = dcmread(paths[0]).SeriesInstanceUID
        return [job for job in self.ledger.jobs() if job.series_uid == series]

    def states(self, paths):
        return [job.state for job in self.jobs(paths)]

    def delivered(self, paths, modality="SEG"):
        """The delivered objects of a study, the oldest first."""
        study = dcmread(paths[0]).StudyInstanceUID
        files = sorted(self.folder.glob("out/*.dcm"), key=lambda path: path.stat().st_mtime)
        objects = [each for each in map(dcmread, files) if each.Modality == modality]
        return [each for each in objects if each.StudyInstanceUID == study]


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder, device = tmp_path_factory.mktemp("archive"), Held()
    out = {"kind": "folder", "folder": folder / "out", "objects": ["seg", "report"]}
    settings = Settings(
        node={"data": folder / "data", "port": 0},
        receive={"quiet_s": QUIET_S, "resend_s": 0, "keep_free_mb": 0},
        engine={"model": write_toy_model(folder / "model")},
        peers={"out": out},
    )
    with (
        running_node(settings, open_device=lambda model, settings: device) as node,
        open_ledger(settings.database_url) as ledger,
    ):
        yield Archive(folder, node, ledger, device)


def change(paths, **attributes):
    for path in paths:
        instance = dcmread(path)
        for keyword, value in attributes.items():
            setattr(instance, keyword, value)
        instance.save_as(path)


def test_a_corrected_patient_has_results_of_his_own(archive):
    paths = archive.phantom("patient")
    archive.peer.send_many(paths)
    wait_until(lambda: archive.states(paths) == [State.DONE])
    change(paths, PatientID="4711", PatientName="RIGHT^ONE")
    archive.peer.send_many(paths)
    wait_until(lambda: archive.states(paths) == [State.SUPERSEDED, State.DONE])
    old, new = archive.delivered(paths)
    assert (new.PatientID, str(new.PatientName)) == ("4711", "RIGHT^ONE")
    assert old.PatientID != "4711"
    assert old.SOPInstanceUID != new.SOPInstanceUID
    first, second = archive.jobs(paths)
    seg, report = predecessors([first.outcome])
    assert seg.instance_uid == old.SOPInstanceUID
    assert report.instance_uid == archive.delivered(paths, "SR")[0].SOPInstanceUID
    assert second.id in first.reason


def test_a_series_moved_to_another_study_has_a_result_there(archive):
    paths = archive.phantom("study")
    archive.peer.send_many(paths)
    wait_until(lambda: archive.states(paths) == [State.DONE])
    (old,) = archive.delivered(paths)
    change(paths, StudyInstanceUID=generate_uid())
    archive.peer.send_many(paths)
    wait_until(lambda: archive.states(paths) == [State.SUPERSEDED, State.DONE])
    (new,) = archive.delivered(paths)
    assert new.SOPInstanceUID != old.SOPInstanceUID


def test_sending_the_instance_again_works_where_a_refusal_advised_it(archive):
    paths = archive.phantom("repair")
    whole = paths[4].read_bytes()
    change(paths[4:5], PixelData=dcmread(paths[4]).PixelData[:1000])
    archive.peer.send_many(paths)
    wait_until(lambda: archive.states(paths) in ([State.REFUSED], [State.FAILED]))
    paths[4].write_bytes(whole)
    archive.peer.send_many(paths[4:5])
    wait_until(lambda: archive.states(paths) == [State.SUPERSEDED, State.DONE])


def test_one_association_for_each_instance_makes_one_job(archive):
    paths = archive.phantom("each")
    for path in paths:
        archive.peer.send_many([path])
        time.sleep(0.1)
    wait_until(lambda: archive.states(paths) == [State.DONE])
    assert len(archive.jobs(paths)[0].paths) == len(paths)


def test_parallel_associations_of_which_one_breaks_off_make_one_job(archive):
    paths = archive.phantom("parallel")
    threads = [
        threading.Thread(target=archive.peer.send_many, args=(share,))
        for share in (paths[:3], paths[3:6])
    ]
    for thread in threads:
        thread.start()
    break_off(archive.peer, paths[6:8])
    for thread in threads:
        thread.join()
    archive.peer.send_many(paths[6:])
    wait_until(lambda: archive.states(paths) == [State.DONE])
    assert len(archive.jobs(paths)[0].paths) == len(paths)


def break_off(peer, paths):
    """Send over an association that is aborted."""
    ae = AE()
    syntax = dcmread(paths[0]).file_meta.TransferSyntaxUID
    ae.add_requested_context(CTImageStorage, syntax)
    handlers = [(evt.EVT_CONN_OPEN, install_reactor_pause)]
    association = ae.associate(peer.host, peer.port, evt_handlers=handlers)
    for path in paths:
        association.send_c_store(dcmread(path))
    association.abort()


def test_instances_that_come_while_the_series_is_computed_are_in_no_mixed_result(archive):
    paths = archive.phantom("meanwhile")
    archive.device.running.clear()
    archive.device.may_run.clear()
    try:
        archive.peer.send_many(paths)
        assert archive.device.running.wait(60)
        change(paths, PatientID="4711")
        archive.peer.send_many(paths[:5])
    finally:
        archive.device.may_run.set()
    archive.peer.send_many(paths[5:])
    wait_until(lambda: archive.states(paths) == [State.SUPERSEDED, State.DONE])
    (result,) = archive.delivered(paths)
    assert result.PatientID == "4711"
