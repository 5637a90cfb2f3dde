"""A delivery counts once the archive has said that it keeps the object."""

import time

import pytest
from pydicom import Dataset, dcmread

from dicom_node.deliver.c_store_scu import StorePeer
from dicom_node.deliver.confirm_by import ConfirmBy
from dicom_node.deliver.confirmation import Confirmation
from dicom_node.deliver.folder import FolderPeer
from dicom_node.errors import (
    NotFoundYet,
    NotKept,
    PeerRefused,
    PeerSilent,
    PeerUnavailable,
    ServiceRefused,
)
from dicom_node.net import commitments as commitments_module
from dicom_node.net.commitments import (
    COMMITTED,
    CommitmentRequest,
    Commitments,
    ReportStatus,
    on_n_event_report,
)
from dicom_node.receive.scp import listen
from dicom_node.receive.spool import Spool
from tests.dicom_node.deliver.commitment_archive import COMMIT, FIND, Archive
from tests.waiting import GENEROUS_S


@pytest.fixture(autouse=True)
def waits(monkeypatch):
    """Time enough for each report that comes, whatever else the machine does."""
    monkeypatch.setattr("dicom_node.deliver.storage_commitment.REPORT_S", GENEROUS_S)
    monkeypatch.setattr("dicom_node.deliver.storage_commitment.SAME_ASSOCIATION_S", GENEROUS_S)


@pytest.fixture
def short_waits(waits, monkeypatch):
    """Hardly any, where none comes."""
    monkeypatch.setattr("dicom_node.deliver.storage_commitment.REPORT_S", 1.0)
    monkeypatch.setattr("dicom_node.deliver.storage_commitment.SAME_ASSOCIATION_S", 0.5)


@pytest.fixture
def commitments():
    return Commitments()


@pytest.fixture
def receiver(commitments, tmp_path):
    """Where this node listens for reports."""
    server = listen("HEPAR", ("127.0.0.1", 0), Spool(tmp_path / "spool"), commitments=commitments)
    yield server.socket.getsockname()
    server.shutdown()


@pytest.fixture
def peer_of(commitments):
    """Start an archive; give back the peer that it is."""
    running = []

    def start(archive, means=ConfirmBy.COMMITMENT):
        running.append(archive.start())
        port = running[-1].socket.getsockname()[1]
        return StorePeer("pacs", "ARCHIVE", "127.0.0.1", port, means=means, commitments=commitments)

    yield start
    for server in running:
        server.shutdown()


def test_a_report_on_the_same_association_confirms(peer_of, seg_file):
    archive = Archive(report_to="same")
    assert peer_of(archive).confirm(seg_file) is Confirmation.COMMITTED
    assert archive.wait_for_answers() == [ReportStatus.SUCCESS]


def test_a_report_on_a_new_association_confirms(peer_of, receiver, seg_file):
    archive = Archive(report_to=receiver)
    assert peer_of(archive).confirm(seg_file) is Confirmation.COMMITTED
    assert archive.wait_for_answers() == [ReportStatus.SUCCESS]


def test_the_answer_to_a_report_leaves_before_the_association_ends(peer_of, seg_file, monkeypatch):
    def slow(event, commitments):
        answer = on_n_event_report(event, commitments)
        time.sleep(0.3)  # what was asked is known by now
        return answer

    monkeypatch.setattr("dicom_node.net.commitments.on_n_event_report", slow)
    archive = Archive(report_to="same")
    assert peer_of(archive).confirm(seg_file) is Confirmation.COMMITTED
    assert archive.wait_for_answers() == [ReportStatus.SUCCESS]


def test_an_association_ends_though_the_mark_that_its_reactor_rests_was_taken_away(
    peer_of, seg_file, monkeypatch
):
    def take_it_away(event, commitments):
        never = property(lambda _: False, lambda *_: None)
        monkeypatch.setattr("pynetdicom.association.Association._is_paused", never, raising=False)
        return on_n_event_report(event, commitments)

    monkeypatch.setattr("dicom_node.net.commitments.on_n_event_report", take_it_away)
    assert peer_of(Archive(report_to="same")).confirm(seg_file) is Confirmation.COMMITTED


def test_a_report_after_the_end_of_the_association_is_waited_for(
    peer_of, receiver, seg_file, monkeypatch
):
    monkeypatch.setattr("dicom_node.deliver.storage_commitment.SAME_ASSOCIATION_S", 0.05)
    monkeypatch.setattr("tests.dicom_node.deliver.commitment_archive.PAUSE_S", 0.3)
    archive = Archive(report_to=receiver)
    assert peer_of(archive).confirm(seg_file) is Confirmation.COMMITTED
    assert len(archive.requests) == 1


def test_a_report_that_says_no_means_not_kept(peer_of, receiver, seg_file):
    peer = peer_of(Archive(report_to=receiver, reason=0x0112))
    with pytest.raises(NotKept, match=r"pacs does not keep .*0x0112 \(no such object\)"):
        peer.confirm(seg_file)


def test_a_lost_report_is_asked_for_again_under_a_new_transaction(
    peer_of, receiver, seg_file, monkeypatch
):
    monkeypatch.setattr("dicom_node.deliver.storage_commitment.REPORT_S", 1.0)
    archive = Archive(report_to=None)
    peer = peer_of(archive)
    with pytest.raises(PeerUnavailable, match=r"no report .* within 1 s; see that ARCHIVE knows"):
        peer.confirm(seg_file)
    monkeypatch.setattr("dicom_node.deliver.storage_commitment.REPORT_S", GENEROUS_S)
    archive.report_to = receiver
    assert peer.confirm(seg_file) is Confirmation.COMMITTED
    assert len(set(archive.requests)) == 2


def test_a_report_that_comes_late_is_not_asked_for_again(peer_of, receiver, seg_file, monkeypatch):
    monkeypatch.setattr("dicom_node.deliver.storage_commitment.REPORT_S", 0.1)
    archive = Archive(report_to=receiver)
    archive.may_report.clear()
    peer = peer_of(archive)
    with pytest.raises(PeerUnavailable):
        peer.confirm(seg_file)
    archive.may_report.set()
    archive.wait_for_answers()
    assert peer.confirm(seg_file) is Confirmation.COMMITTED
    assert len(archive.requests) == 1


def test_a_report_that_nobody_waits_for_is_answered_so(peer_of, receiver):
    archive = Archive(report_to=receiver)
    request = Dataset()
    request.TransactionUID = "2.25.1"
    request.ReferencedSOPSequence = [Dataset()]
    archive.report(None, request)
    assert archive.answers == [ReportStatus.INVALID_ARGUMENT_VALUE]


@pytest.mark.parametrize(
    ("archive", "says"),
    [
        (Archive(offers=()), "does not accept Storage Commitment Push Model"),
        (Archive(action_status=0x0124), "0x0124; set its confirm to another way"),
        (Archive(reason=0x0122), "does not commit itself to this SOP class; set its confirm"),
    ],
)
def test_an_archive_that_has_no_commitment_is_told_apart(peer_of, seg_file, archive, says):
    with pytest.raises(ServiceRefused, match=says):
        peer_of(archive).confirm(seg_file)


def test_an_object_of_another_class_under_this_uid_ends_the_delivery(peer_of, seg_file):
    with pytest.raises(PeerRefused, match=r"0x0119 .*another SOP class .*remove that object"):
        peer_of(Archive(reason=0x0119)).confirm(seg_file)


def test_an_item_that_failed_without_a_reason_is_not_kept(peer_of, seg_file):
    with pytest.raises(NotKept, match="does not keep"):
        peer_of(Archive(reason=None)).confirm(seg_file)


def test_a_search_that_shows_the_object_confirms(peer_of, seg_file):
    peer = peer_of(Archive(offers=(FIND,), find="shows"), ConfirmBy.FIND)
    assert peer.confirm(seg_file) is Confirmation.FOUND


@pytest.mark.parametrize(
    ("find", "error", "says"),
    [
        ("empty", NotFoundYet, "a search in pacs does not show"),
        ("others", NotFoundYet, "a search in pacs does not show"),
        ("fails", PeerUnavailable, "answered a C-FIND with 0xC001; let HEPAR query it"),
        ("is denied", ServiceRefused, "answered a C-FIND with 0x0124; let HEPAR query it"),
        ("breaks off", PeerSilent, "aborted"),
    ],
)
def test_a_search_that_does_not_show_it_is_told_apart(peer_of, seg_file, find, error, says):
    peer = peer_of(Archive(offers=(FIND,), find=find), ConfirmBy.FIND)
    with pytest.raises(error, match=says):
        peer.confirm(seg_file)


@pytest.mark.parametrize(
    ("archive", "how"),
    [
        (Archive(offers=(COMMIT, FIND)), Confirmation.COMMITTED),
        (Archive(offers=(FIND,), find="shows"), Confirmation.FOUND),
        (Archive(offers=(COMMIT, FIND), action_status=0x0110, find="shows"), Confirmation.FOUND),
        (Archive(offers=(COMMIT, FIND), aborts_action=True, find="shows"), Confirmation.FOUND),
        (Archive(offers=(FIND,), find="shows with others"), Confirmation.FOUND),
        (Archive(offers=()), Confirmation.WORD),
        (Archive(offers=(FIND,), find="is denied"), Confirmation.WORD),
        (Archive(offers=(COMMIT,), action_status=0x0124), Confirmation.WORD),
    ],
)
def test_without_a_setting_the_archive_is_asked_for_what_it_has(peer_of, seg_file, archive, how):
    assert peer_of(archive, ConfirmBy.AUTO).confirm(seg_file) is how


def test_without_a_setting_an_archive_whose_report_does_not_come_is_searched(
    peer_of, short_waits, seg_file
):
    archive = Archive(offers=(COMMIT, FIND), report_to=None, find="shows")
    assert peer_of(archive, ConfirmBy.AUTO).confirm(seg_file) is Confirmation.FOUND


@pytest.mark.parametrize(
    "archive",
    [
        Archive(offers=(FIND,), find="breaks off"),
        Archive(offers=(FIND,), find="fails"),
        Archive(offers=(COMMIT,), aborts_action=True),
        Archive(offers=(COMMIT,), action_status=0x0213),
        Archive(offers=(COMMIT, FIND), aborts_action=True, find="breaks off"),
    ],
)
def test_without_a_setting_no_answer_is_never_taken_for_a_confirmation(peer_of, seg_file, archive):
    with pytest.raises(PeerUnavailable):
        peer_of(archive, ConfirmBy.AUTO).confirm(seg_file)


def test_without_a_setting_a_report_that_is_due_is_waited_for(peer_of, short_waits, seg_file):
    peer = peer_of(Archive(report_to=None), ConfirmBy.AUTO)
    with pytest.raises(PeerUnavailable, match="no report"):
        peer.confirm(seg_file)


def test_without_a_setting_a_no_is_a_no(peer_of, seg_file):
    peer = peer_of(Archive(offers=(COMMIT, FIND), reason=0x0213, find="shows"), ConfirmBy.AUTO)
    with pytest.raises(NotKept):
        peer.confirm(seg_file)


def test_nobody_there_is_unavailable_whatever_is_asked(seg_file):
    for means in set(ConfirmBy) - {ConfirmBy.NONE}:
        gone = StorePeer("pacs", "ARCHIVE", "127.0.0.1", 1, connect_s=2, means=means)
        with pytest.raises(PeerUnavailable):
            gone.confirm(seg_file)


def test_a_folder_confirms_by_having_synced(seg_file, tmp_path):
    peer = FolderPeer("shelf", tmp_path / "shelf")
    peer.send(seg_file)
    (tmp_path / "shelf" / f"{dcmread(seg_file).SOPInstanceUID}.dcm").unlink()  # taken away
    assert peer.confirm(seg_file) is Confirmation.WRITTEN


def test_an_answer_is_forgotten_once_it_was_given():
    commitments, question = Commitments(), CommitmentRequest("pacs", "1.2")
    transaction = commitments.ask(question)
    assert commitments.report(transaction, {"1.2": COMMITTED})
    assert commitments.answer(question, 0) == COMMITTED
    assert commitments.answer(question, 0) is None
    assert not commitments.report(transaction, {"1.2": COMMITTED})


def test_requests_that_nobody_reports_on_do_not_pile_up(monkeypatch):
    monkeypatch.setattr(commitments_module, "MOST_OPEN", 3)
    commitments = Commitments()
    first, *others = [
        commitments.ask(CommitmentRequest("pacs", f"1.{number}")) for number in range(4)
    ]
    assert not commitments.report(first, {"1.0": COMMITTED})
    assert all(commitments.report(each, {}) for each in others)
