"""A caller that sends an instance of another caller's unfinished series once more."""

from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy

import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage
from pynetdicom import AE

from dicom_node.errors import StoreStatus
from dicom_node.receive.foreign_copy import MOST_NOTES, NOTES, _note, refused_copies
from dicom_node.receive.header import SeriesKey
from dicom_node.receive.scp import listen
from dicom_node.receive.series_assembler import SeriesAssembler
from dicom_node.receive.spool import Spool
from tests.conftest import make_ct_series


@pytest.fixture(scope="module")
def receiver(tmp_path_factory):
    """The address of a receiver whose series stay unfinished, its spool and its assembler."""
    spool = Spool(tmp_path_factory.mktemp("spool") / "spool")
    assembler = SeriesAssembler(spool, lambda series: None, quiet_s=3600)
    server = listen("TEST", ("127.0.0.1", 0), spool, assembler)
    yield server.socket.getsockname(), spool, assembler
    server.ae.shutdown()


def store(address, sender, instance):
    entity = AE(sender)
    entity.add_requested_context(CTImageStorage, instance.file_meta.TransferSyntaxUID)
    association = entity.associate(*address)
    status = association.send_c_store(instance).Status
    association.release()
    return status


def kept(spool, instance):
    key = SeriesKey(instance.StudyInstanceUID, instance.SeriesInstanceUID)
    (path,) = spool.paths(key)
    return dcmread(path)


def other(instance):
    changed = deepcopy(instance)
    changed.PixelData = bytes(len(instance.PixelData))
    return changed


def test_another_caller_changes_nothing_of_an_unfinished_series(receiver, caplog):
    address, spool, _ = receiver
    (instance,) = make_ct_series(1)
    assert store(address, "SCANNER", instance) == StoreStatus.SUCCESS
    assert store(address, "STRANGER", other(instance)) == StoreStatus.NOT_AUTHORISED
    assert kept(spool, instance).PixelData == instance.PixelData
    assert "SCANNER sent this instance with other content" in caplog.text
    longer = other(instance)
    longer.ImageComments = "longer"
    assert store(address, "STRANGER", longer) == StoreStatus.NOT_AUTHORISED
    assert kept(spool, instance).PixelData == instance.PixelData


def test_the_same_content_comes_from_two_routers(receiver):
    address, spool, _ = receiver
    (instance,) = make_ct_series(1)
    assert store(address, "ROUTER1", instance) == StoreStatus.SUCCESS
    assert store(address, "ROUTER2", instance) == StoreStatus.SUCCESS
    assert kept(spool, instance).file_meta.SendingApplicationEntityTitle == "ROUTER2"


def test_a_caller_changes_its_own_instance(receiver):
    address, spool, _ = receiver
    (instance,) = make_ct_series(1)
    assert store(address, "SCANNER", instance) == StoreStatus.SUCCESS
    assert store(address, "SCANNER", other(instance)) == StoreStatus.SUCCESS
    assert kept(spool, instance).PixelData == other(instance).PixelData


def test_a_series_that_was_handed_over_may_be_changed(receiver):
    address, spool, assembler = receiver
    (instance,) = make_ct_series(1)
    assert store(address, "SCANNER", instance) == StoreStatus.SUCCESS
    assembler.expect(instance.SeriesInstanceUID, 1)
    assembler.hand_over()
    assert store(address, "STRANGER", other(instance)) == StoreStatus.SUCCESS
    assert kept(spool, instance).PixelData == other(instance).PixelData


def test_refusals_of_many_associations_at_once_are_each_noted(tmp_path):
    paths = [tmp_path / f"1.2.{number}.dcm" for number in range(MOST_NOTES)]
    with ThreadPoolExecutor(MOST_NOTES) as associations:
        list(associations.map(lambda path: _note(path, "SCANNER", "STRANGER"), paths))
    notes = refused_copies(tmp_path)
    assert len(notes) == MOST_NOTES
    assert (tmp_path / NOTES).stat().st_mode & 0o777 == 0o600
    assert all(any(f" {path.stem} " in note for note in notes) for path in paths)
