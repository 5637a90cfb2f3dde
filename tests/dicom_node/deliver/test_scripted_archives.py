"""A delivery to each of the archives that are met in the field, to its end, on a clock of its own.

The expected ends are those that public bug reports of archives, viewers and gateways ask for.
"""

from pathlib import Path

import pytest

from dicom_node.deliver.attempts import MAX_COPIES, ConfirmAnswer, SendAnswer, Steps, deliver
from dicom_node.deliver.c_store_scu import StorePeer
from dicom_node.deliver.dicomweb import DicomWebPeer
from dicom_node.deliver.sop_reference import read_reference
from dicom_node.errors import (
    CredentialsRefused,
    NotFindable,
    PeerRefused,
    PeerUnavailable,
    ServiceRefused,
)
from dicom_node.jobs.backoff import Backoff
from dicom_node.jobs.records import DeliveryTask
from dicom_node.jobs.steps.deliverer import Deliverer
from tests.dicom_node.deliver import scripted_archives as a

WORD, FOUND, LISTED = "accepted, not verified", "C-FIND", "QIDO-RS"
PATIENCE = Backoff(first_s=5, longest_s=600, give_up_s=3600)


class Delivery:
    """One delivery to a peer, made by the node's deliverer; pauses pass at once."""

    def __init__(self, archive, peer, file: Path):
        self.slept = []
        archive.now = lambda: sum(self.slept)
        deliverer = Deliverer({"archive": peer}, {}, PATIENCE)
        task = DeliveryTask("1.2", "archive", "seg", file)
        self.steps = Steps(
            send=lambda: SendAnswer.from_json(deliverer.deliver(task).to_json()),
            confirm=lambda: ConfirmAnswer.from_json(deliverer.confirm(task).to_json()),
            pauses=deliverer.pauses,
            sleep=self.slept.append,
        )

    def run(self):
        return deliver("archive", self.steps)


def dimse_peer(port, **options):
    return StorePeer("archive", "ARCHIVE", "127.0.0.1", port, **options)


def web_peer(port, scheme="http", **options):
    return DicomWebPeer("archive", f"{scheme}://127.0.0.1:{port}/dw", **options)


DICOM = {
    "takes and shows": (a.DicomArchive(a.keeps, a.shows_kept), FOUND, 1),
    "full twice": (a.DicomArchive(a.full_twice, a.shows_kept), FOUND, 3),
    "warns B000 and keeps": (
        a.DicomArchive(lambda s, uid, e: s.keep(uid, 0xB000), a.shows_kept),
        FOUND,
        1,
    ),
    "answer lost, then duplicate": (
        a.DicomArchive(a.lost_answer_then_duplicate, a.shows_kept),
        FOUND,
        2,
    ),
    "another node stored it": (a.DicomArchive(a.always_duplicate, a.shows_kept), FOUND, 1),
    "duplicate, and no search": (a.DicomArchive(a.always_duplicate), WORD, 1),
    "aborts once": (a.DicomArchive(a.abort_once, a.shows_kept), FOUND, 2),
    "indexes 90 s late": (a.DicomArchive(a.keeps, a.shows_late), FOUND, 1),
    "ignores the filter": (a.DicomArchive(a.keeps, a.shows_all), FOUND, 1),
    "implicit VR only": (
        a.DicomArchive(a.keeps, a.shows_kept, syntaxes=a.SYNTAXES[1:]),
        FOUND,
        1,
    ),
    "no search": (a.DicomArchive(a.keeps), WORD, 1),
}


@pytest.mark.parametrize(("archive", "by", "copies"), DICOM.values(), ids=DICOM)
def test_a_dicom_archive_gets_the_object_and_confirms_it(archive, by, copies, seg_file):
    with archive.running() as port:
        done = Delivery(archive, dimse_peer(port), seg_file).run()
    assert (done.confirmed, archive.copies) == (by, copies)


REFUSING = {
    "patient differs": (
        a.DicomArchive(
            a.answer_with(0xA779, "Patient[id=4711] differs from received object in (0010,0010)")
        ),
        PeerRefused,
        r"0xA779 .*Patient\[id=…\] differs from received object in \(0010,0010\)",
        1,
    ),
    "rejected by a person": (
        a.DicomArchive(a.answer_with(0xA771, "Subsequent occurrence of rejected object")),
        PeerRefused,
        "0xA771 .*Subsequent occurrence of rejected object",
        1,
    ),
    "cannot understand": (a.DicomArchive(a.answer_with(0xC000)), PeerRefused, "0xC000", 1),
    "no SEG": (
        a.DicomArchive(a.keeps, a.shows_kept, classes=a.SR_ONLY),
        ServiceRefused,
        "does not accept Segmentation Storage.*allow it there",
        0,
    ),
    "loses everything": (
        a.DicomArchive(a.loses, a.shows_kept),
        NotFindable,
        "copies, and none can be found there",
        MAX_COPIES,
    ),
    "renames everything": (
        a.DicomArchive(a.renames, a.shows_kept),
        NotFindable,
        "changed the object when it accepted it .*0xB000",
        1,
    ),
    "aborts every search": (
        a.DicomArchive(a.keeps, a.aborts),
        PeerUnavailable,
        "gave up on archive",
        1,
    ),
}


@pytest.mark.parametrize(("archive", "error", "says", "copies"), REFUSING.values(), ids=REFUSING)
def test_a_dicom_archive_that_does_not_keep_it_ends_with_a_reason(
    archive, error, says, copies, seg_file
):
    with archive.running() as port, pytest.raises(error, match=says) as caught:
        Delivery(archive, dimse_peer(port), seg_file).run()
    assert "4711" not in str(caught.value)
    assert archive.copies == copies


WEB = {
    "takes and lists": (a.web_keeps, None, 1, 0),
    "warns B000 and keeps": (a.keeps_with_warning, None, 1, 0),
    "504, then 409 with 272": (a.gateway_timeout_then_conflict(0x0110), None, 2, 5),
    "504, then 409 with 273": (a.gateway_timeout_then_conflict(0x0111), None, 2, 5),
    "504, then 409 with 45070": (a.gateway_timeout_then_conflict(45070), None, 2, 5),
    "504, then a bare 409": (a.gateway_timeout_then_conflict(), None, 2, 5),
    "503 with Retry-After": (a.first(503, ("Retry-After", "60")), None, 2, 60),
    "429 with Retry-After": (a.first(429, ("Retry-After", "60")), None, 2, 60),
    "401 once": (a.first(401), None, 2, 5),
    "204": (a.keeps_and_answers(204), None, 1, 0),
    "200 without content": (a.keeps_and_answers(200), None, 1, 0),
    "202 with a jobId": (
        a.keeps_and_answers(202, "application/json", b'{"jobId": "1"}'),
        None,
        1,
        0,
    ),
    "resets the connection once": (a.resets_once, None, 2, 5),
    "indexes 90 s late": (a.web_keeps, a.lists_late, 1, 155),
    "empty search is 204": (a.web_keeps, a.empty_is_204, 1, 0),
    "search ignores the filter": (a.web_keeps, a.ignores_the_filter, 1, 0),
}


@pytest.mark.parametrize(("store", "find", "copies", "slept_s"), WEB.values(), ids=WEB)
def test_a_web_archive_gets_the_object_and_lists_it(store, find, copies, slept_s, seg_file):
    archive = a.WebArchive(store, find)
    with archive.running() as port:
        delivery = Delivery(archive, web_peer(port), seg_file)
        assert delivery.run().confirmed == LISTED
    assert (archive.copies, sum(delivery.slept)) == (copies, slept_s)


REFUSING_WEB = {
    "202 with a failure": (a.refuses(0xA900), None, PeerRefused, "0xA900", 1),
    "413": (a.always(413), None, PeerRefused, "too large", 1),
    "401 always": (a.always(401), None, CredentialsRefused, "^credentials: ", 3),
    "login page": (a.login_page, a.login_page, PeerUnavailable, "needs no login page", 1),
    "409 in XML, and nothing there": (
        a.always(409, "application/dicom+xml", b"<NativeDicomModel/>"),
        None,
        NotFindable,
        "none can be found there",
        MAX_COPIES,
    ),
    "renames everything": (a.web_renames, None, NotFindable, "changed the object", 1),
    "search is 404 for ever": (
        a.web_keeps,
        a.status_of_search(404),
        NotFindable,
        "does not show",
        MAX_COPIES,
    ),
    "search is 400": (
        a.web_keeps,
        a.status_of_search(400),
        ServiceRefused,
        "answered a search with 400 Bad Request",
        1,
    ),
}


@pytest.mark.parametrize(
    ("store", "find", "error", "says", "copies"), REFUSING_WEB.values(), ids=REFUSING_WEB
)
def test_a_web_archive_that_does_not_keep_it_ends_with_a_reason(
    store, find, error, says, copies, seg_file
):
    archive = a.WebArchive(store, find)
    with archive.running() as port, pytest.raises(error, match=says):
        Delivery(archive, web_peer(port), seg_file).run()
    assert archive.copies == copies


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_an_archive_that_moved_gets_the_object_where_it_is_now(status, seg_file):
    new = a.WebArchive(a.web_keeps)
    with new.running() as port:
        location = ("Location", f"http://127.0.0.1:{port}/dw/studies")
        old = a.WebArchive(a.always(status, "text/html", b"", location))
        with old.running() as old_port:
            assert Delivery(new, web_peer(old_port), seg_file).run().confirmed == LISTED
    assert (old.copies, new.copies) == (1, 1)


def test_a_silent_archive_is_asked_again_and_never_counts_as_delivered(seg_file):
    """It stored nothing, answers C-STORE with success, and aborts at a query until it is up."""

    def until_it_is_up(archive, uid, event):
        if archive.queries < 4:
            return a.aborts(archive, uid, event)
        return a.shows_kept(archive, uid)

    archive = a.DicomArchive(a.keeps, until_it_is_up)
    with archive.running() as port:
        delivery = Delivery(archive, dimse_peer(port), seg_file)
        assert delivery.run().confirmed == FOUND
    assert delivery.slept == [5, 10, 20]


# ---- deletion


@pytest.mark.parametrize(
    ("deletes", "is_orthanc"), [(200, False), (405, True), (404, True), (501, True)]
)
def test_a_web_archive_deletes_an_object_in_its_own_way(seg_file, deletes, is_orthanc):
    archive, wanted = a.WebArchive(a.web_keeps), read_reference(seg_file)
    archive.deletes, archive.is_orthanc = deletes, is_orthanc
    with archive.running() as port:
        peer = web_peer(port)
        peer.send(seg_file)
        assert list(archive.kept) == [wanted.instance_uid]
        archive.keep("1.2.3")
        peer.delete(wanted)
        assert list(archive.kept) == ["1.2.3"]
        peer.delete(wanted)  # it has gone already


@pytest.mark.parametrize(
    ("deletes", "error", "says"),
    [
        (405, ServiceRefused, 'a deletion with 405 Method Not Allowed; .*superseded to "reject"'),
        (404, ServiceRefused, "a deletion with 404 Not Found"),
        (403, PeerUnavailable, "403 Forbidden; check user, password or token"),
        (503, PeerUnavailable, "503"),
    ],
)
def test_a_web_archive_that_does_not_delete_says_what_to_do(seg_file, deletes, error, says):
    archive = a.WebArchive(a.web_keeps)
    archive.deletes = deletes
    with archive.running() as port:
        peer = web_peer(port)
        peer.send(seg_file)
        with pytest.raises(error, match=says):
            peer.delete(read_reference(seg_file))


# ---- TLS


def test_a_dicom_archive_over_tls(tls_server, tls_files, seg_file):
    archive = a.DicomArchive(a.keeps, a.shows_kept)
    with archive.running(tls_server) as port:
        peer = dimse_peer(port, tls=tls_files.context())
        assert Delivery(archive, peer, seg_file).run().confirmed == FOUND


def test_a_web_archive_over_tls(tls_server, tls_files, seg_file):
    archive = a.WebArchive(a.web_keeps)
    with archive.running(tls_server) as port:
        peer = web_peer(port, "https", tls=tls_files)
        assert Delivery(archive, peer, seg_file).run().confirmed == LISTED


@pytest.mark.parametrize("token", [None, "t0p"])
def test_a_web_archive_that_the_system_trusts(tls_server, tls_files, seg_file, monkeypatch, token):
    monkeypatch.setenv("SSL_CERT_FILE", str(tls_files.ca_file))
    archive = a.WebArchive(a.web_keeps)
    with archive.running(tls_server) as port:
        web_peer(port, "https", token=token).send(seg_file)


def test_a_certificate_that_nobody_vouches_for_is_named(tls_server, seg_file):
    dicom, web = a.DicomArchive(a.keeps), a.WebArchive(a.web_keeps)
    with dicom.running(tls_server) as port, web.running(tls_server) as web_port:
        for peer in (
            dimse_peer(port, tls=web_peer(1).tls.context()),
            web_peer(web_port, "https"),
        ):
            with pytest.raises(PeerUnavailable, match=r"not trusted \(.*name the certificate auth"):
                peer.send(seg_file)


def test_a_tls_only_archive_says_so_to_a_plain_caller(tls_server, seg_file):
    dicom, web = a.DicomArchive(a.keeps), a.WebArchive(a.web_keeps)
    with dicom.running(tls_server) as port, web.running(tls_server) as web_port:
        with pytest.raises(PeerUnavailable, match="it expects TLS: set tls = true"):
            dimse_peer(port).send(seg_file)
        with pytest.raises((PeerUnavailable, PeerRefused), match="let url begin with https://"):
            web_peer(web_port).send(seg_file)


def test_a_plain_archive_says_so_to_a_caller_over_tls(tls_files, seg_file):
    dicom, web = a.DicomArchive(a.keeps), a.WebArchive(a.web_keeps)
    with dicom.running() as port, web.running() as web_port:
        for peer in (
            dimse_peer(port, tls=tls_files.context(), negotiate_s=5),
            web_peer(web_port, "https", tls=tls_files),
        ):
            with pytest.raises(PeerUnavailable, match="no TLS there; check the port"):
                peer.send(seg_file)


def test_a_client_certificate_is_shown_to_an_archive_that_demands_one(
    tls_server_of_few, tls_files, tls_files_of_ours, seg_file
):
    dicom, web = a.DicomArchive(a.keeps), a.WebArchive(a.web_keeps)
    with dicom.running(tls_server_of_few) as port, web.running(tls_server_of_few) as web_port:
        dimse_peer(port, tls=tls_files_of_ours.context()).send(seg_file)
        web_peer(web_port, "https", tls=tls_files_of_ours).send(seg_file)
        for peer in (
            dimse_peer(port, tls=tls_files.context()),
            web_peer(web_port, "https", tls=tls_files),
        ):
            with pytest.raises(PeerUnavailable, match="client certificate: set cert_file"):
                peer.send(seg_file)
