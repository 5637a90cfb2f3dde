"""Archives as they are met in the field, each a few lines: DICOM nodes and DICOMweb servers."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO

from pydicom import Dataset, dcmread
from pydicom.uid import (
    Comprehensive3DSRStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    SegmentationStorage,
)
from pynetdicom import AE, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind

from dicom_node.net.connection import prepare_connection
from dicom_node.net.reactor import install_reactor_pause

SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
RENAMED = "2.25.99"


class DicomArchive:
    """Answers C-STORE with `store(archive, uid, event)`, C-FIND with the UIDs of `find(…)`."""

    def __init__(self, store, find=None, classes=(SegmentationStorage,), syntaxes=SYNTAXES):
        self.store, self.find = store, find
        self.classes, self.syntaxes = classes, syntaxes
        self.copies, self.queries, self.kept, self.now = 0, 0, {}, lambda: 0.0

    @contextmanager
    def running(self, tls=None):
        """Listen while the block lasts; yields the port."""
        entity = AE("ARCHIVE")
        for each in self.classes:
            entity.add_supported_context(each, list(self.syntaxes))
        if self.find:
            entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
        server = entity.start_server(
            ("127.0.0.1", 0),
            block=False,
            ssl_context=tls,
            evt_handlers=[
                (evt.EVT_CONN_OPEN, prepare_connection, [30.0, 1 << 20]),
                (evt.EVT_CONN_OPEN, install_reactor_pause),
                (evt.EVT_C_STORE, self._store),
                (evt.EVT_C_FIND, self._find),
            ],
        )
        try:
            yield server.socket.getsockname()[1]
        finally:
            server.shutdown()

    def keep(self, uid, answer=0x0000):
        self.kept.setdefault(uid, self.now())
        return answer

    def _store(self, event):
        self.copies += 1
        return self.store(self, str(event.request.AffectedSOPInstanceUID), event)

    def _find(self, event):
        self.queries += 1
        uids = self.find(self, str(event.identifier.SOPInstanceUID), event)
        for uid in uids:
            match = Dataset()
            match.QueryRetrieveLevel, match.SOPInstanceUID = "IMAGE", uid
            yield 0xFF00, match


def shows_kept(archive, uid, event=None):
    return [each for each in archive.kept if each == uid]


def shows_all(archive, uid, event=None):
    return list(archive.kept)


def shows_late(archive, uid, event=None):
    """An index that is 90 s behind."""
    return [each for each, since in archive.kept.items() if archive.now() - since > 90]


def aborts(archive, uid, event):
    event.assoc.abort()
    return []


def answer_with(status, comment=""):
    """Refuse every object."""

    def store(archive, uid, event):
        answer = Dataset()
        answer.Status = status
        if comment:
            answer.ErrorComment = comment
        return answer

    return store


def full_twice(archive, uid, event):
    return 0xA700 if archive.copies <= 2 else archive.keep(uid)


def lost_answer_then_duplicate(archive, uid, event):
    if uid in archive.kept:
        return 0x0111
    archive.keep(uid)
    event.assoc.abort()
    return 0x0000


def always_duplicate(archive, uid, event):
    archive.keep(uid)
    return 0x0111


def abort_once(archive, uid, event):
    if archive.copies == 1:
        event.assoc.abort()
    return archive.keep(uid)


def loses(archive, uid, event):
    return 0x0000


def renames(archive, uid, event):
    archive.keep(f"{RENAMED}.{archive.copies}")
    return 0xB000


def keeps(archive, uid, event):
    return archive.keep(uid)


SR_ONLY = (Comprehensive3DSRStorage,)


# ---- DICOMweb

JSON = "application/dicom+json"


class WebArchive(ThreadingHTTPServer):
    """Answers STOW-RS with `store(…)`: status, type, body, headers; QIDO-RS with `find(…)`."""

    daemon_threads = True
    is_orthanc = False
    deletes = 200
    """Status of an answer to DELETE; with success the object is gone."""

    def __init__(self, store, find=None, prefix="/dw"):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.store, self.find, self.prefix = store, find or shows_listed, prefix
        self.copies, self.queries, self.kept, self.now = 0, 0, {}, lambda: 0.0
        self.headers = []

    @contextmanager
    def running(self, tls=None):
        """Answer while the block lasts; yields the port."""
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield self.server_port
        finally:
            self.shutdown()
            thread.join()
            self.server_close()

    def handle_error(self, request, client_address):
        """Print nothing: handshakes fail on purpose."""

    def keep(self, uid):
        self.kept.setdefault(uid, self.now())

    def delete(self, path):
        """Delete the object that a path of DICOMweb or of Orthanc names; return the status."""
        uid = path.rpartition("/")[2]
        if uid.startswith("of-"):
            del self.kept[uid.removeprefix("of-")]
            return 200
        if self.deletes == 200 and not self.kept.pop(uid, None):
            return 404
        return self.deletes


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        archive = self.server
        if self.path == "/tools/lookup":
            self.look_up(self.rfile.read(int(self.headers["Content-Length"])).decode())
            return
        archive.copies += 1
        archive.headers.append(self.headers)
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            self.send_error(411)
            return
        body = self.rfile.read(int(self.headers["Content-Length"]))
        start = body.find(b"DICM") - 128
        header = dcmread(BytesIO(body[start:]), stop_before_pixels=True, force=True)
        answer = archive.store(archive, str(header.SOPInstanceUID))
        if answer is None:
            self.close_connection = True
            self.connection.close()
            return
        self.reply(*answer)

    def do_DELETE(self):
        self.reply(self.server.delete(self.path))

    def do_GET(self):
        archive = self.server
        archive.queries += 1
        uid = self.path.partition("SOPInstanceUID=")[2]
        self.reply(*archive.find(archive, uid))

    def look_up(self, uid):
        """Answer as Orthanc does, whose name of an instance is no UID."""
        if not self.server.is_orthanc:
            self.reply(404)
            return
        found = [{"ID": f"of-{uid}", "Path": "/", "Type": "Instance"}]
        self.reply(200, "application/json", json.dumps(found * (uid in self.server.kept)).encode())

    def reply(self, status, kind="", body=b"", headers=()):
        self.send_response(status)
        if kind:
            self.send_header("Content-Type", kind)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def listing(uids):
    found = [{"00080018": {"vr": "UI", "Value": [uid]}} for uid in uids]
    return 200, JSON, json.dumps(found).encode()


def shows_listed(archive, uid):
    return listing(shows_kept(archive, uid))


def ignores_the_filter(archive, uid):
    return listing(archive.kept)


def lists_late(archive, uid):
    return listing(shows_late(archive, uid))


def empty_is_204(archive, uid):
    return shows_listed(archive, uid) if uid in archive.kept else (204,)


def status_of_search(status):
    return lambda archive, uid: (status,)


def login_page(archive, uid):
    return 200, "text/html; charset=utf-8", b"<html>Please sign in</html>"


def item(uid, tag="", reason=0):
    known = {"00081155": {"vr": "UI", "Value": [uid]}}
    return known | ({tag: {"vr": "US", "Value": [reason]}} if tag else {})


def sequence(tag, *items):
    return json.dumps({tag: {"vr": "SQ", "Value": list(items)}}).encode()


def failed(uid, reason):
    return sequence("00081198", item(uid, "00081197", reason))


def web_keeps(archive, uid):
    archive.keep(uid)
    return 200, JSON, sequence("00081199", item(uid))


def keeps_with_warning(archive, uid):
    archive.keep(uid)
    return 202, JSON, sequence("00081199", item(uid, "00081196", 0xB000))


def web_renames(archive, uid):
    archive.keep(f"{RENAMED}.{archive.copies}")
    return 202, JSON, sequence("00081199", item(uid, "00081196", 0xB000))


def gateway_timeout_then_conflict(reason=None):
    """Store the object, lose the answer, and call the next one a duplicate."""

    def store(archive, uid):
        if uid not in archive.kept:
            archive.keep(uid)
            return 504, "text/html", b"gateway timeout"
        return (409, JSON, failed(uid, reason)) if reason else (409, "text/html", b"conflict")

    return store


def first(status, *headers):
    """Answer so once, then keep the object."""

    def store(archive, uid):
        return (status, "", b"", headers) if archive.copies == 1 else web_keeps(archive, uid)

    return store


def always(status, kind="", body=b"", *headers):
    """Answer so, and keep nothing."""
    return lambda archive, uid: (status, kind, body, headers)


def keeps_and_answers(status, kind="", body=b""):
    """Keep the object, and answer with something that tells nothing of it."""

    def store(archive, uid):
        archive.keep(uid)
        return status, kind, body

    return store


def resets_once(archive, uid):
    return None if archive.copies == 1 else web_keeps(archive, uid)


def refuses(reason):
    return lambda archive, uid: (202, JSON, failed(uid, reason))
