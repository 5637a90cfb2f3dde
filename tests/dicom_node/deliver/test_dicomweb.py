import json
import threading
import time
from collections.abc import Mapping
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pydicom import dcmread

from dicom_node.deliver.confirmation import Confirmation
from dicom_node.deliver.dicomweb import DicomWebPeer
from dicom_node.errors import (
    BadCredentials,
    NotFoundYet,
    PeerRefused,
    PeerUnavailable,
    ServiceRefused,
)


class Server(ThreadingHTTPServer):
    """Answers every request alike, and keeps what came."""

    daemon_threads = True
    status = 200
    content_type = "application/dicom+json"
    body = b"{}"
    found = b"[]"
    """Answer to a search."""
    found_status = None
    """Its status; None: the same as of everything else."""
    headers: Mapping[str, str] = {}

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen = []

    @property
    def root(self):
        return f"http://127.0.0.1:{self.server_port}/dicom-web"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.answer(self.rfile.read(int(self.headers["Content-Length"])))

    def do_GET(self):
        self.answer(b"", self.server.found, self.server.found_status)

    def answer(self, body, said=None, status=None):
        said = self.server.body if said is None else said
        self.server.seen.append((self.path, dict(self.headers), body))
        self.send_response(status or self.server.status)
        self.send_header("Content-Type", self.server.content_type)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = Server()
    with serving(server):
        yield server


@contextmanager
def serving(server):
    """Let a server answer while the block lasts."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def listed(path) -> bytes:
    """An answer to a search that lists the object in a file."""
    return listed_uids(dcmread(path).SOPInstanceUID)


def listed_uids(*uids) -> bytes:
    return json.dumps([{"00080018": {"vr": "UI", "Value": [uid]}} for uid in uids]).encode()


def failed(reason: int) -> bytes:
    """A store response that names one instance as failed (PS3.18 I.2)."""
    item = {"00081197": {"vr": "US", "Value": [reason]}}
    return json.dumps({"00081198": {"vr": "SQ", "Value": [item]}}).encode()


def test_the_object_is_posted_to_studies(server, seg_file):
    DicomWebPeer("web", server.root + "/").send(seg_file)
    ((path, headers, body),) = server.seen
    assert path == "/dicom-web/studies"
    assert 'type="application/dicom"' in headers["Content-Type"]
    assert seg_file.read_bytes()[132:] in body  # after the preamble, which has no meaning


def test_a_large_object_arrives_whole_with_its_length(server, seg_file):
    with seg_file.open("ab") as file:  # more than a server reads at once
        file.write(b"\xfc\xff\xfc\xffOB\0\0" + (3 << 20).to_bytes(4, "little") + bytes(3 << 20))
    DicomWebPeer("web", server.root).send(seg_file)
    _, headers, body = server.seen[0]
    assert "Transfer-Encoding" not in headers
    assert seg_file.read_bytes() in body


@pytest.mark.parametrize(
    ("secrets", "header"),
    [
        ({"token": "t0p"}, "Bearer t0p"),
        ({"user": "hepar", "password": "s3cret"}, "Basic aGVwYXI6czNjcmV0"),
        ({}, None),
    ],
)
def test_credentials_go_into_the_request_and_nowhere_else(server, seg_file, secrets, header):
    peer = DicomWebPeer("web", server.root, **secrets)
    peer.send(seg_file)
    peer.echo()
    for _, headers, _ in server.seen:
        assert headers.get("Authorization") == header
    assert "t0p" not in repr(peer)
    assert "s3cret" not in repr(peer)


@pytest.mark.parametrize("content_type", ["application/dicom+json", "application/json; charset=x"])
@pytest.mark.parametrize(
    ("status", "reason", "error"),
    [
        (202, 0xA700, PeerUnavailable),
        (200, 0xC000, PeerRefused),
        (409, 0xA700, PeerUnavailable),
        (409, 0x0122, PeerRefused),
    ],
)
def test_a_failure_in_the_answer_counts(server, seg_file, content_type, status, reason, error):
    server.status, server.body, server.content_type = status, failed(reason), content_type
    with pytest.raises(error, match=f"web answered 0x{reason:04X}"):
        DicomWebPeer("web", server.root).send(seg_file)


@pytest.mark.parametrize(
    ("status", "error", "says"),
    [
        (500, PeerUnavailable, "500"),
        (503, PeerUnavailable, "503 Service Unavailable"),
        (429, PeerUnavailable, "429"),
        (400, PeerRefused, "400"),
        (401, BadCredentials, "401 Unauthorized; check user, password or token"),
        (403, BadCredentials, "403 Forbidden; check user, password or token"),
        (411, PeerRefused, "though the request had a Content-Length"),
        (404, PeerRefused, "404 Not Found; check the address"),
        (415, PeerRefused, "415"),
    ],
)
def test_an_http_error_is_for_now_or_for_good(server, seg_file, status, error, says):
    server.status, server.body, server.content_type = status, b"<p>no</p>", "text/html"
    peer = DicomWebPeer("web", server.root)
    for act in (peer.echo, lambda: peer.send(seg_file)):
        with pytest.raises(error, match=says):
            act()
    assert len(server.seen) == 2  # the job tries again, not the client


def test_a_secret_that_is_no_header_is_not_shown(server, seg_file):
    peer = DicomWebPeer("web", server.root, token="t0p\n")
    for act in (peer.echo, lambda: peer.send(seg_file)):
        with pytest.raises(PeerRefused, match="holds characters that no HTTP header may") as caught:
            act()
        assert "t0p" not in str(caught.value)


def test_what_a_server_writes_beside_its_status_is_not_repeated(server, seg_file, monkeypatch):
    monkeypatch.setattr(Handler, "responses", {406: ("Musterfrau^Erika is unknown", "")})
    server.status = 406
    with pytest.raises(PeerRefused, match="answered 406 Not Acceptable; check"):
        DicomWebPeer("web", server.root).send(seg_file)


def test_nobody_there_is_unavailable(seg_file):
    peer = DicomWebPeer("web", "http://127.0.0.1:1/dicom-web", connect_s=2)
    for act in (peer.echo, lambda: peer.send(seg_file)):
        with pytest.raises(
            PeerUnavailable, match="cannot be reached: Connection refused"
        ) as caught:
            act()
        assert "HTTPConnectionPool" not in str(caught.value)


NO_DATA_SET = [
    (b"{", "application/dicom+json"),
    (b"null", "application/json"),
    (b"[]", "application/json"),
    (b'[{"error": "no"}]', "application/json"),
    (b'{"jobId": "1", "jobStatus": "SUBMITTED"}', "application/json"),
    (b'{"message": "accepted"}', "application/json"),
    (b'{"00081198": null}', "application/dicom+json"),
    (
        b'{"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US"}}]}}',
        "application/dicom+json",
    ),
    (b'{"00081198": {"vr": "SQ", "Value": ["?"]}}', "application/dicom+json"),
    (b"", ""),
    (b"<html>Please sign in</html>", "text/html; charset=utf-8"),
    (b"<NativeDicomModel/>", "application/dicom+xml"),
]


@pytest.mark.parametrize("status", [200, 202])
@pytest.mark.parametrize(("body", "kind"), NO_DATA_SET)
def test_an_answer_that_reveals_nothing_leads_to_a_search(server, seg_file, body, kind, status):
    server.status, server.body, server.content_type = status, body, kind
    peer = DicomWebPeer("web", server.root)
    assert peer.send(seg_file) == ""
    server.status = 200
    with pytest.raises(NotFoundYet):
        peer.confirm(seg_file)
    server.found = listed(seg_file)
    assert peer.confirm(seg_file) is Confirmation.LISTED


def test_a_login_page_is_no_success_where_nothing_is_searched(server, seg_file):
    server.body, server.content_type = b"<html>Please sign in</html>", "text/html"
    with pytest.raises(PeerUnavailable, match="needs no login page"):
        DicomWebPeer("web", server.root, search=False).send(seg_file)


@pytest.mark.parametrize("body", [b"", *map(failed, (0x0110, 0x0111, 0xB00E))])
def test_a_conflict_that_may_mean_already_there_leads_to_a_search(server, seg_file, body):
    server.status, server.body = 409, body
    peer = DicomWebPeer("web", server.root)
    assert peer.send(seg_file) == ""
    server.status, server.found = 200, listed(seg_file)
    assert peer.confirm(seg_file) is Confirmation.LISTED


def test_a_bare_conflict_is_looked_into_at_once_where_nothing_confirms(server, seg_file):
    server.status, server.body = 409, b""
    peer = DicomWebPeer("web", server.root, search=False)
    server.found_status = 200
    with pytest.raises(PeerRefused, match="409 Conflict, and a search does not show"):
        peer.send(seg_file)
    server.found = listed(seg_file)
    assert peer.send(seg_file) == ""


def test_a_warning_that_values_were_replaced_is_passed_on(server, seg_file):
    uid = dcmread(seg_file).SOPInstanceUID
    item = {
        "00081155": {"vr": "UI", "Value": [uid]},
        "00081196": {"vr": "US", "Value": [0xB000]},
    }
    server.status = 202
    server.body = json.dumps({"00081199": {"vr": "SQ", "Value": [item]}}).encode()
    assert "0xB000" in DicomWebPeer("web", server.root).send(seg_file)


def test_the_failure_of_another_instance_is_not_ours(server, seg_file):
    item = {
        "00081155": {"vr": "UI", "Value": ["2.25.1"]},
        "00081197": {"vr": "US", "Value": [0xC000]},
    }
    server.body = json.dumps({"00081198": {"vr": "SQ", "Value": [item]}}).encode()
    assert DicomWebPeer("web", server.root).send(seg_file) == ""


@pytest.mark.parametrize(("found", "shows"), [([], False), (["2.25.1"], False), (None, True)])
def test_a_search_is_believed_only_of_this_very_object(server, seg_file, found, shows):
    others = ["2.25.1", "2.25.2"]  # a server that takes no notice of the filter
    uid = dcmread(seg_file).SOPInstanceUID
    uids = [*others, uid] if found is None else found
    server.found = listed_uids(*uids)
    peer = DicomWebPeer("web", server.root)
    if shows:
        assert peer.confirm(seg_file) is Confirmation.LISTED
    else:
        with pytest.raises(NotFoundYet, match="does not show"):
            peer.confirm(seg_file)


@pytest.mark.parametrize("status", [204, 404])
def test_a_search_without_content_shows_nothing(server, seg_file, status):
    server.status, server.found = status, b""
    with pytest.raises(NotFoundYet):
        DicomWebPeer("web", server.root).confirm(seg_file)


@pytest.mark.parametrize(
    ("status", "error", "says"),
    [
        (400, ServiceRefused, 'search with 400 Bad Request; .*set its confirm to "none"'),
        (401, BadCredentials, "check user, password or token"),
        (503, PeerUnavailable, "503"),
    ],
)
def test_a_search_that_fails_is_for_now_or_for_good(server, seg_file, status, error, says):
    server.status = status
    with pytest.raises(error, match=says):
        DicomWebPeer("web", server.root).confirm(seg_file)


@pytest.mark.parametrize("found", [b"<html/>", b"{}", b'"x"', b"7"])
def test_a_search_that_cannot_be_read_is_unavailable(server, seg_file, found):
    server.found = found
    with pytest.raises(PeerUnavailable, match="no answer that can be read"):
        DicomWebPeer("web", server.root).confirm(seg_file)


@pytest.mark.parametrize(
    ("header", "wait_s"), [("60", 60), ("soon", 0), ("-5", 0), ("1e3", 0), (None, 0)]
)
def test_retry_after_is_passed_on(server, seg_file, header, wait_s):
    server.status, server.headers = 503, {"Retry-After": header} if header else {}
    with pytest.raises(PeerUnavailable) as caught:
        DicomWebPeer("web", server.root).send(seg_file)
    assert caught.value.wait_s == wait_s


def test_retry_after_may_be_a_date(server, seg_file):
    server.status = 429
    server.headers = {"Retry-After": formatdate(time.time() + 100, usegmt=True)}
    with pytest.raises(PeerUnavailable) as caught:
        DicomWebPeer("web", server.root).send(seg_file)
    assert 90 < caught.value.wait_s <= 100


def test_an_object_that_is_too_large_is_named_so(server, seg_file):
    server.status = 413
    with pytest.raises(PeerRefused, match=r"413 .*MB are too large for it; raise the limit"):
        DicomWebPeer("web", server.root).send(seg_file)


def test_a_token_is_read_anew_for_every_request(server, seg_file, tmp_path):
    token = tmp_path / "token"
    peer = DicomWebPeer("web", server.root, token_file=token)
    with pytest.raises(BadCredentials, match="cannot read the token in"):
        peer.send(seg_file)
    for word in ("first", "second"):
        token.write_text(f"{word}\n")
        peer.send(seg_file)
    assert [headers["Authorization"] for _, headers, _ in server.seen] == [
        "Bearer first",
        "Bearer second",
    ]


@pytest.mark.parametrize("code", [301, 302, 307, 308])
@pytest.mark.parametrize("size", [0, 3 << 20])
def test_a_redirect_takes_the_body_along(server, seg_file, code, size):
    seg = seg_file.read_bytes() + bytes(size)
    moved = Server()
    with serving(moved):
        server.status, server.headers = code, {"Location": f"{moved.root}/studies"}
        peer = DicomWebPeer("web", server.root, token="t0p")
        answer = peer.post(f"{server.root}/studies", seg, "application/dicom")
    assert answer.status_code == 200
    ((path, headers, body),) = moved.seen
    assert (path, body) == ("/dicom-web/studies", seg)
    assert "Authorization" not in headers  # another host: the port differs


def test_an_object_is_also_looked_for_where_a_redirect_led(server, seg_file):
    moved = Server()
    moved.found = listed(seg_file)
    with serving(moved):
        server.status, server.headers = 301, {"Location": f"{moved.root}/studies"}
        peer = DicomWebPeer("web", server.root)
        peer.send(seg_file)
        server.status, server.headers = 200, {}
        assert peer.confirm(seg_file) is Confirmation.LISTED


def test_redirects_have_an_end(server, seg_file):
    server.status, server.headers = 307, {"Location": f"{server.root}/studies"}
    with pytest.raises(PeerRefused, match="redirects more than 5 times; set url"):
        DicomWebPeer("web", server.root).send(seg_file)


def test_echo_asks_for_one_study(server):
    DicomWebPeer("web", server.root).echo()
    assert server.seen[0][0] == "/dicom-web/studies?limit=1"
