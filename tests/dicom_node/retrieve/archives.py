"""Archives in this process that hold CT series: one speaks DICOM, one DICOMweb."""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from urllib.parse import parse_qs, urlsplit

from pydicom import Dataset, dcmwrite
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from dicom_node.deliver.c_store_scu import StorePeer
from dicom_node.deliver.dicomweb import DicomWebPeer
from dicom_node.net.connection import prepare_connection

TOLD = {
    "STUDY": ("StudyInstanceUID", "StudyDate", "StudyDescription"),
    "SERIES": ("StudyInstanceUID", "SeriesInstanceUID", "Modality", "SeriesDescription"),
}


def tell(instances, level, keys):
    """What a search on a level answers: one data set for each study or series that matches."""
    answers = {}
    for instance in instances:
        if all(matches(instance, keyword, value) for keyword, value in keys.items()):
            answer = Dataset()
            for keyword in TOLD[level]:
                if keyword in instance:
                    setattr(answer, keyword, instance[keyword].value)
            key = TOLD[level][0 if level == "STUDY" else 1]
            uid = answer[key].value if key in answer else ""
            count = answers[uid].NumberOfSeriesRelatedInstances + 1 if uid in answers else 1
            answers[uid] = answer
            answer.NumberOfSeriesRelatedInstances = count
    return list(answers.values())


def matches(instance, keyword, value):
    if keyword == "StudyDate":
        day = str(instance.StudyDate)
        return day >= value[:-1] if value.endswith("-") else day == value  # PS3.4 C.2.2.2.5
    if keyword == "ModalitiesInStudy":
        return True  # as an archive does that does not keep this
    return str(instance.get(keyword)) == value


class DicomArchive:
    """Answers C-FIND, C-GET and C-MOVE; `instances` are what it holds."""

    mixes_up = False
    """Whether it sends the instances of every series but the one that was asked for."""

    def __init__(self, instances, knows=None, models=("find", "get", "move")):
        self.instances, self.knows = instances, knows or {}
        entity = AE("ARCHIVE")
        for name, model in {
            "find": StudyRootQueryRetrieveInformationModelFind,
            "get": StudyRootQueryRetrieveInformationModelGet,
            "move": StudyRootQueryRetrieveInformationModelMove,
        }.items():
            if name in models:
                entity.add_supported_context(model, ImplicitVRLittleEndian)
        entity.add_supported_context(
            CTImageStorage, ExplicitVRLittleEndian, scu_role=True, scp_role=True
        )
        entity.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
        self.server = entity.start_server(
            ("127.0.0.1", 0),
            block=False,
            evt_handlers=[
                (evt.EVT_CONN_OPEN, prepare_connection, [30.0, 1 << 20]),
                (evt.EVT_C_FIND, self.find),
                (evt.EVT_C_GET, self.get),
                (evt.EVT_C_MOVE, self.move),
            ],
        )
        self.port = self.server.socket.getsockname()[1]
        self.peer = StorePeer("pacs", "ARCHIVE", "127.0.0.1", self.port)

    def find(self, event):
        asked = event.identifier
        keys = {each.keyword: str(each.value) for each in asked if each.value}
        level = keys.pop("QueryRetrieveLevel")
        for answer in tell(self.instances, level, keys):
            yield 0xFF00, answer

    def get(self, event):
        yield from self.send(event)

    def move(self, event):
        yield self.knows.get(event.move_destination, (None, None))
        yield from self.send(event)

    def send(self, event):
        uid = event.identifier.SeriesInstanceUID
        series = [i for i in self.instances if (i.SeriesInstanceUID == uid) != self.mixes_up]
        yield len(series)
        for instance in series:
            yield 0xFF00, instance

    def stop(self):
        self.server.shutdown()


class WebArchive(ThreadingHTTPServer):
    """Answers QIDO-RS and WADO-RS, and takes what is stored without a look."""

    daemon_threads = True
    pages = True
    """Orthanc's answer to a search takes no notice of where it should begin."""
    mixes_up = False
    garbage = b""
    """Answer to every search, if there is one."""

    def __init__(self, instances):
        super().__init__(("127.0.0.1", 0), Handler)
        self.instances, self.accepted = instances, []
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()
        self.peer = DicomWebPeer("web", f"http://127.0.0.1:{self.server_port}/dicom-web")

    def stop(self):
        self.shutdown()
        self.thread.join()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        parts = urlsplit(self.path)
        keys = {name: value[0] for name, value in parse_qs(parts.query).items()}
        offset = int(keys.get("offset", 0)) if self.server.pages else 0
        keys = {name: each for name, each in keys.items() if name[0].isupper()}
        if re.fullmatch(r"/dicom-web/studies", parts.path):
            self.tell(tell(self.server.instances, "STUDY", keys)[offset:])
        elif found := re.fullmatch(r"/dicom-web/studies/([\d.]+)/series", parts.path):
            keys["StudyInstanceUID"] = found[1]
            self.tell(tell(self.server.instances, "SERIES", keys)[offset:])
        else:
            self.server.accepted.append(self.headers["Accept"])
            uid = parts.path.split("/")[-1]
            mixes_up = self.server.mixes_up
            every = self.server.instances
            self.send(i for i in every if (i.SeriesInstanceUID == uid) != mixes_up)

    def tell(self, answers):
        body = json.dumps([each.to_json_dict() for each in answers]).encode()
        body = self.server.garbage or body
        self.reply("application/dicom+json", body)

    def send(self, instances):
        body = b""
        for instance in instances:
            file = BytesIO()
            dcmwrite(file, instance, enforce_file_format=True)
            head = b"--part\r\nContent-Type: application/dicom\r\n\r\n"
            body += head + file.getvalue() + b"\r\n"
        kind = 'multipart/related; type="application/dicom"; boundary=part'
        self.reply(kind, body + b"--part--")

    def reply(self, content_type, body):
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass
