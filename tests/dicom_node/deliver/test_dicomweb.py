import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dicom_node.deliver.dicomweb import DicomWebPeer
from dicom_node.errors import PeerRefused, PeerUnavailable


class Server(ThreadingHTTPServer):
    """Answers every request alike, and keeps what came."""

    daemon_threads = True
    status = 200
    content_type = "application/dicom+json"
    body = b"{}"

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen = []

    @property
    def root(self):
        return f"http://127.0.0.1:{self.server_port}/dicom-web"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        length = self.headers["Content-Length"]
        self.answer(self.rfile.read(int(length)) if length else self.chunks())

    def do_GET(self):
        self.answer(b"")

    def answer(self, body):
        self.server.seen.append((self.path, dict(self.headers), body))
        self.send_response(self.server.status)
        self.send_header("Content-Type", self.server.content_type)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def chunks(self):
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


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


def test_a_large_object_arrives_in_chunks(server, seg_file, monkeypatch):
    monkeypatch.setattr("dicom_node.deliver.dicomweb.CHUNK_BYTES", 1000)
    DicomWebPeer("web", server.root).send(seg_file)
    assert seg_file.read_bytes()[132:] in server.seen[0][2]


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
        (401, PeerRefused, "401 Unauthorized; check user, password or token"),
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
        with pytest.raises(PeerUnavailable, match="gave no answer that can be read"):
            act()


def test_an_answer_that_is_no_json_is_not_taken_for_success(server, seg_file):
    server.body = b"{"
    with pytest.raises(PeerUnavailable, match="gave no answer that can be read"):
        DicomWebPeer("web", server.root).send(seg_file)


def test_echo_asks_for_one_study(server):
    DicomWebPeer("web", server.root).echo()
    assert server.seen[0][0] == "/dicom-web/studies?limit=1"
