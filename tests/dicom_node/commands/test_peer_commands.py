"""`hepar peers`, `hepar rehearse`, `hepar doctor` and `hepar send`."""

import json
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import formatdate

import pytest
import trustme
from pydicom import dcmread
from pydicom.uid import (
    ComprehensiveSRStorage,
    CTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    SegmentationStorage,
)
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind, Verification

from dicom_node.commands.doctor import clock, node_findings
from dicom_node.commands.rehearse import settings_of
from dicom_node.config.settings import load_settings
from dicom_node.deliver.rehearsal import Rehearsed
from dicom_node.errors import BadConfiguration
from dicom_node.net.connection import prepare_connection
from dicom_node.net.reactor import install_reactor_pause
from dicom_node.sop_classes import LABEL_MAP_SEGMENTATION
from engine.admin.doctor import Health
from tests.dicom_node.commands.test_commands import hepar, toy_folder, write_liver
from tests.dicom_node.deliver import scripted_archives as a

__all__ = ["hepar", "toy_folder", "write_liver"]

EVERY = [each.abstract_syntax for each in AllStoragePresentationContexts]


@pytest.fixture
def archive():
    """Start a Storage SCP that accepts these classes; gives back its table and what it stored."""
    running = []

    def start(classes=(*EVERY, LABEL_MAP_SEGMENTATION), answer=0x0000, find=True, objects="seg"):
        kept = []

        def keep(event):
            uid = str(event.request.AffectedSOPInstanceUID)
            status = answer(uid) if callable(answer) else answer
            if status == 0x0000:
                kept.append(uid)
            return status

        def search(event):
            if event.identifier.SOPInstanceUID in kept:
                yield 0xFF00, event.identifier

        entity = AE("ARCHIVE")
        entity.add_supported_context(Verification)
        for each in dict.fromkeys(classes):
            entity.add_supported_context(each, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
        if find:
            entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
        server = entity.start_server(
            ("127.0.0.1", 0),
            block=False,
            evt_handlers=[
                (evt.EVT_CONN_OPEN, prepare_connection, [30.0, 1 << 20]),
                (evt.EVT_CONN_OPEN, install_reactor_pause),
                (evt.EVT_C_STORE, keep),
                (evt.EVT_C_FIND, search),
            ],
        )
        running.append(server)
        port = server.socket.getsockname()[1]
        quoted = ", ".join(f'"{each}"' for each in objects.split())
        return (
            '[peers.archive]\nkind = "store"\nae_title = "ARCHIVE"\nhost = "127.0.0.1"\n'
            f"port = {port}\nobjects = [{quoted}]\n"
        ), kept

    yield start
    for server in running:
        server.shutdown()


@pytest.fixture
def config(tmp_path):
    """Write a configuration with these tables."""

    def write(*tables):
        path = tmp_path / "hepar.toml"
        path.write_text(f'[node]\ndata = "{tmp_path / "data"}"\nport = 0\n' + "".join(tables))
        return path

    return write


def test_a_peer_that_is_ready_passes_every_check(hepar, archive, config):
    path = config(archive(objects="seg report")[0])
    said = hepar("peers", "test", "archive", "-c", path)
    for words in ("C-ECHO +good", "storage +good +all accepted", "confirmation +good +Study Root"):
        assert re_search(words, said)
    listed = hepar("peers", "list", "-c", path)
    assert re_search(r"archive +store +seg, report +ARCHIVE@127\.0\.0\.1:\d+", listed)


def test_a_class_that_is_switched_off_is_named(hepar, archive, config):
    table, _ = archive((ComprehensiveSRStorage,), find=False)
    found = json.loads(hepar("peers", "test", "--json", "-c", config(table), status=1))["archive"]
    by_check = {each["check"]: each for each in found}
    assert by_check["C-ECHO"]["passed"]
    assert "Segmentation Storage; switch these" in by_check["storage"]["message"] or (
        "does not accept Segmentation Storage" in by_check["storage"]["message"]
    )
    assert by_check["confirmation"]["message"].startswith("refused: results would be accepted")


def test_a_peer_that_is_away_fails_one_check_only(hepar, config):
    table = (
        '[peers.gone]\nkind = "store"\nae_title = "X"\nhost = "127.0.0.1"\nport = 1\n'
        '[peers.web]\nkind = "stow"\nurl = "http://127.0.0.1:1/dw"\n'
        '[peers.shelf]\nkind = "folder"\nfolder = "shelf"\n'
    )
    found = json.loads(hepar("peers", "test", "--json", "-c", config(table), status=1))
    assert [each["passed"] for each in found["gone"]] == [False]
    assert "Connection refused" in found["web"][0]["message"]
    assert "HTTPConnectionPool" not in found["web"][0]["message"]
    with pytest.raises(BadConfiguration, match="no peer 'pacs' in the configuration; known: gone"):
        hepar("peers", "test", "pacs", "-c", config(table))


def test_a_rehearsal_prints_the_lines_that_work(hepar, archive, config):
    table, kept = archive()
    said = hepar("rehearse", "archive", "-c", config(table))
    assert '[peers.archive]\nobjects = ["seg", "report"' in said
    assert 'seg_encoding = "binary"\nconfirm = "find"\n' in said
    assert "remove the study" in said
    kinds = {line.split()[0] for line in said.splitlines() if " accepted " in line}
    assert {"seg", "report", "seg-labelmap", "receipt", "rejection"} <= kinds
    assert "receipt" not in said.partition("[peers.archive]")[2]
    assert len(kept) == len(kinds)


@pytest.mark.parametrize(
    ("classes", "find", "lines"),
    [
        ((SegmentationStorage,), False, ['objects = ["seg"]', 'confirm = "none"']),
        ((LABEL_MAP_SEGMENTATION,), True, ['objects = ["seg"]', 'seg_encoding = "labelmap"']),
    ],
)
def test_a_rehearsal_leaves_out_what_is_switched_off(hepar, archive, config, classes, find, lines):
    said = hepar("rehearse", "archive", "-c", config(archive(classes, find=find)[0]))
    for line in lines:
        assert line in said
    assert "refused" in said


def test_a_rehearsal_with_a_peer_that_accepts_no_seg_fails(hepar, archive, config):
    table, _ = archive((ComprehensiveSRStorage,))
    assert "accepts no SEG" in hepar("rehearse", "archive", "-c", config(table), status=1)
    told = json.loads(hepar("rehearse", "archive", "--json", "-c", config(table), status=1))
    assert not any(each["accepted"] for each in told["objects"])
    assert told["settings"] == []


def test_an_archive_that_is_not_configured_is_tested_by_its_address(hepar, archive, config):
    table, _ = archive()
    port = table.partition("port = ")[2].split()[0]
    address = f"ARCHIVE@127.0.0.1:{port}"
    told = json.loads(hepar("peers", "test", address, "--json", "-c", config()))[address]
    assert {each["check"] for each in told} == {"C-ECHO", "storage", "confirmation"}


def test_what_confirms_the_first_object_that_is_accepted_is_recommended():
    refused = Rehearsed("seg", False, "no such class")
    labelmap = Rehearsed("seg-labelmap", True, confirmed_by=("commitment", "find"))
    report = Rehearsed("report", True, confirmed_by=("find",))
    assert 'confirm = "find"' in settings_of([refused, labelmap, report])
    assert 'confirm = "commitment"' in settings_of([refused, labelmap])
    receipt = Rehearsed("receipt", True)
    assert 'confirm = "commitment"' in settings_of([refused, labelmap, receipt])


def test_a_rehearsal_with_a_web_archive(hepar, config):
    archive = a.WebArchive(a.web_keeps)
    with archive.running() as port:
        table = f'[peers.web]\nkind = "stow"\nurl = "http://127.0.0.1:{port}/dw"\n'
        said = hepar("rehearse", "web", "-c", config(table))
        told = json.loads(hepar("rehearse", "web", "--json", "-c", config(table)))
    assert 'confirm = "qidors"' in said
    assert 'confirm = "qidors"' in told["settings"]
    assert {each["name"] for each in told["objects"] if each["accepted"]} >= {"seg", "report"}


def test_send_goes_on_after_a_refused_file_and_reports(hepar, archive, config, write_liver):
    folder = write_liver()
    bad = dcmread(folder / "3.dcm").SOPInstanceUID
    table, kept = archive((CTImageStorage,), answer=lambda uid: 0xA900 if uid == bad else 0x0000)
    said = hepar("send", folder, "archive", "-c", config(table), status=1)
    assert re_search(r"3\.dcm: not sent: .*0xA900", said)
    assert "7 instances sent to archive" in said
    assert "1 file not sent" in said
    assert len(kept) == 7


def test_send_of_a_class_that_is_switched_off_holds_up_no_other(
    hepar, archive, config, write_liver
):
    folder = write_liver()
    odd = dcmread(folder / "0.dcm")
    odd.SOPClassUID = odd.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    odd.save_as(folder / "0.dcm")
    table, kept = archive((CTImageStorage,))
    said = hepar("send", folder, "archive", "-c", config(table), status=1)
    assert "does not accept MR Image Storage" in said
    assert len(kept) == 7


def test_the_doctor_examines_the_node_and_its_peers(archive, config, hepar, tmp_path):
    path = config(archive()[0])
    found = {each.what: each for each in node_findings(load_settings(path))}
    assert {each.health for each in found.values()} == {Health.GOOD}
    assert {"DICOM port", "data folder", "job store", "archive: C-ECHO"} <= found.keys()


def test_the_doctor_names_what_is_bad(config, tmp_path):
    with socket.socket() as taken:  # bound by something that does not listen
        taken.bind(("127.0.0.1", 0))
        path = config("[receive]\nkeep_free_mb = 999999999\n")
        settings = load_settings(path, node={"port": taken.getsockname()[1], "data": tmp_path})
        found = {each.what: each for each in node_findings(settings)}
    assert "make room" in found["data folder"].text
    assert found["data folder"].health is Health.BAD


@pytest.mark.parametrize(
    ("days", "health", "words"),
    [(400, Health.GOOD, "399 days"), (20, Health.BAD, "renew it"), (-3, Health.BAD, "-")],
)
def test_the_doctor_states_when_certificates_end(config, tmp_path, days, health, words):
    end = datetime.now(UTC) + timedelta(days=days)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    issued = authority.issue_cert("node.example", not_after=end)
    issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / "node.pem")
    files = f'cert_file = "{tmp_path / "node.pem"}"\nca_file = "{tmp_path / "authority.pem"}"\n'
    web = f'[peers.web]\nkind = "stow"\nurl = "https://127.0.0.1:9/dw"\n{files}'
    path = config(f"[tls]\n{files}", web)
    found = {each.what: each for each in node_findings(load_settings(path))}
    for key in ("tls.cert_file", "web.cert_file"):
        assert found[key].health is health
        assert f"valid until {end:%Y-%m-%d}" in found[key].text
        assert words in found[key].text
    assert found["tls.ca_file"].health is found["web.ca_file"].health is Health.GOOD


def test_the_doctor_names_a_certificate_that_is_none(config, tmp_path):
    (tmp_path / "odd.pem").write_text("no certificate")
    files = f'cert_file = "{tmp_path / "gone.pem"}"\nca_file = "{tmp_path / "odd.pem"}"\n'
    found = {each.what: each for each in node_findings(load_settings(config(f"[tls]\n{files}")))}
    assert "No such file" in found["tls.cert_file"].text
    assert "holds no PEM certificate" in found["tls.ca_file"].text
    assert found["tls.cert_file"].health is found["tls.ca_file"].health is Health.BAD


def test_what_is_printed_as_a_table_is_printed_as_json_too(config, hepar, toy_folder, tmp_path):
    engine = f'[engine]\nmodel = "{toy_folder}"\nbacklog_model = "{toy_folder}"\n'
    path = config(f'{engine}[peers.shelf]\nkind = "folder"\nfolder = "{tmp_path}"\n')
    (shelf,) = json.loads(hepar("peers", "list", "--json", "-c", path)).values()
    assert shelf == {"kind": "folder", "objects": ["seg"], "address": str(tmp_path)}
    found = json.loads(hepar("doctor", "--quick", "--json", "-c", path))
    assert {"what": "shelf: folder", "health": "good", "text": "answers"} in found
    (backlog,) = [each for each in found if each["what"] == "backlog model"]
    assert backlog["text"] == "toy 0.1 is the model that serves, so there is none"


@pytest.mark.parametrize(("behind_s", "health"), [(0, Health.GOOD), (3600, Health.BAD)])
def test_the_doctor_compares_clocks(config, behind_s, health):
    with answering(formatdate(time.time() - behind_s, usegmt=True)) as port:
        table = f'[peers.web]\nkind = "stow"\nurl = "http://127.0.0.1:{port}/dw"\n'
        found = {each.what: each for each in node_findings(load_settings(config(table)))}
    assert found["web: clock"].health is health


def test_the_doctor_reads_a_date_of_no_stated_zone_as_utc():
    with answering(formatdate(time.time(), localtime=False)) as port:  # it ends in -0000
        assert "apart from the server's" in clock(f"http://127.0.0.1:{port}/dw")


def test_no_password_goes_to_the_server_whose_clock_is_read(tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login anna password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    server = answering(formatdate(time.time(), usegmt=True))
    with server as port:
        assert "apart from the server's" in clock(f"http://127.0.0.1:{port}/dw")
    assert server.heard
    assert b"Authorization" not in b"".join(server.heard)


class answering:  # noqa: N801
    """A server that tells this time, while the block lasts; gives its port."""

    def __init__(self, date):
        self.date, self.heard = date, []

    def __enter__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()
        return self.socket.getsockname()[1]

    def serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection:
                self.heard.append(connection.recv(4096))
                head = f"HTTP/1.1 200 OK\r\nDate: {self.date}\r\nContent-Length: 2\r\n"
                connection.sendall(f"{head}Connection: close\r\n\r\n[]".encode())

    def __exit__(self, *_):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join(5)


def re_search(pattern, text):
    import re

    return re.search(pattern, text, re.MULTILINE)
