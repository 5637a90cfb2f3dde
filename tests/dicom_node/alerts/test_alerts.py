"""Alerts: one message per change, by webhook and mail, to real servers of this process."""

import asyncio
import json
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import count
from queue import Queue
from types import SimpleNamespace

import pytest
from aiosmtpd.smtp import SMTP
from pydicom import dcmread
from sqlalchemy.exc import SQLAlchemyError

from dicom_node.alerts.channels import Alert, NotSent, channels, mail, post
from dicom_node.alerts.watch import Trouble, Watch, watching
from dicom_node.config.page_sections import AlertsSection
from dicom_node.config.settings import Settings
from dicom_node.deliver.c_store_scu import StorePeer
from dicom_node.deliver.folder import FolderPeer
from dicom_node.errors import PeerRefused
from dicom_node.jobs.state import Delivery, State
from dicom_node.node.node import running_node
from dicom_node.results.phantom import write_series
from dicom_node.web.probe import Finding
from dicom_node.web.troubles import Troubles
from engine.phantom import make_phantom
from tests.dicom_node.node_process import Thresholds
from tests.engine.toy_model import write_toy_model
from tests.waiting import GENEROUS_S

PATIENCE_S = 60.0
FULL = Trouble("10 MB free, 2000 MB needed")
ALERT = Alert("HEPAR", "disk", False, FULL.detail)


@contextmanager
def web_server(status=200):
    """Yield the address of a server that answers with `status`, and what it received."""
    received = Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            received.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args):
            """Print nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/secret-key", received
        finally:
            server.shutdown()
            thread.join()


class Postbox:
    """Keeps the mail that comes."""

    def __init__(self):
        self.received = Queue()

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 - aiosmtpd's name
        self.received.put((envelope.rcpt_tos, envelope.content.decode()))
        return "250 OK"


@contextmanager
def mail_server():
    """Yield the port of a server, and the mail that came."""
    box, loop = Postbox(), asyncio.new_event_loop()
    make = partial(SMTP, box, hostname="mail.example", loop=loop)
    server = loop.run_until_complete(loop.create_server(make, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1], box.received
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def scene():
    """A watch whose troubles, clock and channel the test controls."""
    present, sent, clock = {}, [], Clock()
    broken = []

    def channel(alert):
        if broken:
            raise NotSent("status 500")
        sent.append((alert.subject, alert.ok))

    watch = Watch("HEPAR", lambda: dict(present), channel, after_s=120, clock=clock)
    return SimpleNamespace(watch=watch, present=present, sent=sent, clock=clock, broken=broken)


def test_a_trouble_is_reported_once_after_it_has_lasted_and_once_when_it_has_gone(scene):
    scene.present["disk"] = FULL
    for now in (0, 60, 119):
        scene.clock.now = now
        scene.watch.step()
    assert scene.sent == []
    for now in (120, 150, 9000):
        scene.clock.now = now
        scene.watch.step()
    assert scene.sent == [("disk", False)]
    scene.present.clear()
    for _ in range(3):
        scene.watch.step()
    assert scene.sent == [("disk", False), ("disk", True)]


def test_a_trouble_that_passes_is_not_reported(scene):
    for now in (0, 100, 200, 300):
        scene.clock.now = now
        scene.watch.step()
        if not scene.present.pop("disk", None):
            scene.present["disk"] = FULL
    assert scene.sent == []


def test_a_failed_delivery_is_reported_at_once(scene):
    scene.present["delivery to archive"] = Trouble("1 object", at_once=True)
    scene.watch.step()
    assert scene.sent == [("delivery to archive", False)]


def test_what_was_not_taken_is_sent_again(scene, caplog):
    scene.present["peers"] = Trouble("…", at_once=True)
    scene.broken.append(True)
    scene.watch.step()
    assert "alert not sent, will be tried again: peers: status 500" in caplog.text
    scene.broken.clear()
    scene.watch.step()
    scene.watch.step()
    assert scene.sent == [("peers", False)]


def test_a_webhook_gets_the_alert_as_json():
    with web_server() as (url, received):
        post(ALERT, url)
    content = received.get(timeout=PATIENCE_S)
    assert content["text"] == "Hepar HEPAR: disk is not right: 10 MB free, 2000 MB needed"
    assert (content["subject"], content["ok"]) == ("disk", False)


def test_a_webhook_that_refuses_or_is_away_is_named_without_its_key():
    with web_server(status=403) as (url, _), pytest.raises(NotSent, match=r"^status 403$"):
        post(ALERT, url)
    with pytest.raises(NotSent, match=r"^ConnectionError$"):
        post(ALERT, url)


def test_a_webhook_that_has_moved_has_not_taken_the_alert():
    with (
        web_server(status=301) as (url, _),
        pytest.raises(NotSent, match=r"^status 301, a redirect; set alerts\.webhook to"),
    ):
        post(ALERT, url)


def test_mail_reaches_every_address_and_one_that_cannot_be_sent_is_named():
    with mail_server() as (port, received):
        addresses = ("a@x.example", "b@x.example")
        to = AlertsSection(mail_to=addresses, smtp_host="127.0.0.1", smtp_port=port)
        mail(ALERT, to)
    recipients, text = received.get(timeout=PATIENCE_S)
    assert recipients == ["a@x.example", "b@x.example"]
    assert "Subject: Hepar HEPAR: disk is not right" in text
    assert "10 MB free" in text
    with pytest.raises(NotSent, match="ConnectionRefusedError"):
        mail(ALERT, to)


def next_on(subject, posted, mailed):
    """Wait for the next message on a subject by webhook, and for the same by mail."""
    while (content := posted.get(timeout=GENEROUS_S))["subject"] != subject:
        pass
    title = f"Subject: Hepar HEPAR: {subject} is {'right again' if content['ok'] else 'not right'}"
    while title not in (text := mailed.get(timeout=GENEROUS_S)[1]):
        pass
    return content, text


def test_a_running_node_reports_a_failed_delivery_and_that_it_is_not_ready(tmp_path, monkeypatch):
    made = make_phantom(shape=(20, 48, 48), spacing_mm=(10, 8, 8), noise_hu=2, tumours=0)
    series = write_series(made, "alert", tmp_path / "series")

    def refuse(peer, file):
        raise PeerRefused("SOP class not supported")

    monkeypatch.setattr(FolderPeer, "send", refuse)
    archive = {"kind": "folder", "folder": tmp_path / "archive"}
    to = {"mail_to": ["admin@x.example"], "smtp_host": "127.0.0.1", "every_s": 0.2, "after_s": 0}
    with web_server() as (url, posted), mail_server() as (port, mailed):
        settings = Settings(
            node={"data": tmp_path / "data", "port": 0},
            receive={"quiet_s": 0.2, "keep_free_mb": 0},
            engine={"model": write_toy_model(tmp_path / "model")},
            peers={"archive": archive},
            alerts={**to, "webhook": url, "smtp_port": port},
        )
        with running_node(settings, open_device=lambda model, settings: Thresholds()) as node:
            StorePeer("node", node.ae_title, *node.address).send_many(series)
            failed, mail = next_on("delivery to archive", posted, mailed)
            monkeypatch.setattr(
                "shutil.disk_usage", lambda folder: SimpleNamespace(free=-(1 << 20))
            )
            full, _ = next_on("disk", posted, mailed)
            monkeypatch.undo()
            again, _ = next_on("disk", posted, mailed)
    assert (failed["ok"], full["ok"], again["ok"]) == (False, False, True)
    assert failed["detail"].startswith("not delivered: 1 object; hepar jobs list --state failed")
    assert "hepar jobs retry --failed --peer archive" in " ".join(mail.split())
    assert "-1 MB free, 0 MB needed (receive.keep_free_mb)" in full["detail"]
    patient = dcmread(series[0])
    for secret in (patient.PatientName, patient.PatientID):
        assert str(secret) not in str([failed, mail, full, again])


def test_there_is_a_channel_for_what_is_configured():
    assert channels(AlertsSection()) == {}
    both = AlertsSection(webhook="http://x.example", mail_to=("a@x.example",))
    assert channels(both).keys() == {"webhook", "mail"}
    assert "x.example" not in repr(both.webhook)


def test_the_watch_outlives_a_look_that_fails(caplog):
    looked, numbers = Queue(), count()

    def look():
        number = next(numbers)
        looked.put(number)
        if number == 0:
            raise OSError("the store is away")
        return {}

    watch = Watch("HEPAR", look, lambda alert: None, after_s=0)
    with watching({"webhook": watch}, 0.01):
        for _ in range(2):
            looked.get(timeout=PATIENCE_S)


def test_troubles_are_failed_checks_and_deliveries_that_failed_since_the_start():
    begun = datetime.now(UTC)
    failed = Delivery("d", "archive", "q", "seg", State.FAILED, "Doe^Jane refused", 3, 0.0, "")
    done = Delivery("e", "viewer", "q", "seg", State.DONE, "", 1, 0.0, "qidors")
    jobs = [
        SimpleNamespace(finished=begun + timedelta(minutes=1), deliveries=(failed, done)),
        SimpleNamespace(finished=begun - timedelta(days=1), deliveries=(failed,)),
        SimpleNamespace(finished=None, deliveries=()),
    ]
    health = SimpleNamespace(ready=lambda: [Finding("disk", False, "full"), Finding("a", True, "")])
    away = []

    def read(last):
        if away:
            raise SQLAlchemyError("away")
        return jobs

    look = Troubles(health, SimpleNamespace(jobs=read), begun)
    found = look()
    assert found.keys() == {"disk", "delivery to archive"}
    assert found["delivery to archive"].detail.startswith("not delivered: 1 object;")
    assert "Doe" not in str(found)
    away.append(True)
    assert look() == found  # what failed has not come right because the store cannot be read
