"""STOW-RS takes what C-STORE takes, and refuses what it refuses, with the same statuses."""

import asyncio
import errno
from io import BytesIO
from types import SimpleNamespace

import httpx
import pytest
from dicomweb_client.api import DICOMwebClient
from dicomweb_client.session_utils import create_session_from_user_pass
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.uid import MRImageStorage, generate_uid
from starlette.applications import Starlette
from starlette.routing import Route

from dicom_node.config.receiver_sections import CallerSection
from dicom_node.config.settings import Settings
from dicom_node.jobs.ledger import open_ledger
from dicom_node.net import data_set_file
from dicom_node.net.data_set_file import NamelessFile
from dicom_node.node.node import running_node
from dicom_node.receive.events import NullReceiveEvents
from dicom_node.receive.spool import Spool
from dicom_node.web import stow
from dicom_node.web.access import Access
from dicom_node.web.stow import StowDoor
from tests.dicom_node.node_process import Thresholds, wait_until
from tests.dicom_node.web.in_process import InProcess
from tests.engine.toy_model import write_toy_model
from tests.waiting import GENEROUS_S

TOKEN = "a-long-password"
CT_MODALITY = "CT-1"
RELATED = 'multipart/related; type="application/dicom"; boundary=b'


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("node")
    return Settings(
        node={"data": folder / "data", "port": 0},
        receive={"quiet_s": 0.2, "keep_free_mb": 0},
        engine={"model": write_toy_model(folder / "model")},
        callers=[{"ae_title": CT_MODALITY}, {"ae_title": "ECHO", "may": ["echo"]}],
        http={"port": 0, "token": TOKEN},
    )


@pytest.fixture(scope="module")
def node(settings):
    with running_node(settings, open_device=lambda model, settings: Thresholds()) as node:
        yield node


@pytest.fixture(scope="module")
def door(node):
    url = "http://{}:{}/dicom-web".format(*node.http)
    auth = CT_MODALITY, TOKEN
    with httpx.Client(base_url=url, auth=auth, timeout=GENEROUS_S) as client:
        yield client


def file_of(instance):
    file = BytesIO()
    dcmwrite(file, instance, enforce_file_format=True)
    return file.getvalue()


def body(*parts, kind="application/dicom", end=True):
    head = f"\r\n--b\r\nContent-Type: {kind}\r\n\r\n".encode()
    return b"".join(head + part for part in parts) + (b"\r\n--b--\r\n" if end else b"")


def post(door, content, path="/studies", **headers):
    return door.post(path, content=content, headers={"Content-Type": RELATED, **headers})


def module_of(answer):
    assert answer.headers["content-type"] == "application/dicom+json"
    return Dataset.from_json(answer.text)


def spooled(settings, instance):
    study, series = instance.StudyInstanceUID, instance.SeriesInstanceUID
    return settings.node.data / "spool" / study / series / f"{instance.SOPInstanceUID}.dcm"


def test_a_series_of_dicomweb_client_is_kept_and_computed(node, settings, ct_series):
    instances = ct_series(slices=4)
    client = DICOMwebClient(
        "http://{}:{}/dicom-web".format(*node.http),
        session=create_session_from_user_pass(CT_MODALITY, TOKEN),
    )
    answer = client.store_instances([dcmread(BytesIO(file_of(each))) for each in instances])
    stored = {each.ReferencedSOPInstanceUID for each in answer.ReferencedSOPSequence}
    assert stored == {each.SOPInstanceUID for each in instances}
    with open_ledger(settings.database_url) as ledger:
        wait_until(
            lambda: [
                job
                for job in ledger.jobs(100)
                if job.series_uid == instances[0].SeriesInstanceUID and job.state.settled
            ]
        )


def test_an_instance_is_on_the_disk_before_the_answer_as_it_came(door, settings, ct_series):
    instance = ct_series(slices=1)[0]
    answer = post(door, body(file_of(instance)))
    assert answer.status_code == 200
    (item,) = module_of(answer).ReferencedSOPSequence
    assert item.ReferencedSOPInstanceUID == instance.SOPInstanceUID
    kept = dcmread(spooled(settings, instance))
    assert kept.PixelData == instance.PixelData
    assert kept.file_meta.SendingApplicationEntityTitle == CT_MODALITY


def test_a_large_instance_goes_through_a_file_and_is_the_same(
    door, settings, ct_series, monkeypatch
):
    monkeypatch.setattr(data_set_file, "IN_MEMORY_BYTES", 1 << 10)
    made, begin = [], NamelessFile.__init__
    monkeypatch.setattr(NamelessFile, "__init__", lambda *given: made.append(begin(*given)))
    instance = ct_series(slices=1)[0]
    assert post(door, body(file_of(instance))).status_code == 200
    assert len(made) == 1
    assert dcmread(spooled(settings, instance)).PixelData == instance.PixelData


def changed(instance, **values):
    for keyword, value in values.items():
        setattr(instance, keyword, value)
    return instance


def with_series(instance, uid):
    known = instance.SeriesInstanceUID.encode()
    return file_of(instance).replace(known, uid.ljust(len(known), "/").encode())


def with_meta(instance, **values):
    file = dcmread(BytesIO(file_of(instance)))
    for keyword, value in values.items():
        setattr(file.file_meta, keyword, value)
    content = BytesIO()
    dcmwrite(content, file, enforce_file_format=False)
    return content.getvalue()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda each: file_of(changed(each, SOPClassUID=MRImageStorage)), 0x0122),
        (lambda each: with_meta(each, MediaStorageSOPInstanceUID="1.2.3"), 0xA900),
        (lambda each: with_series(each, "../../etc"), 0xC000),
        (lambda each: file_of(each)[:200], 0xC000),
        (lambda each: file_of(each)[:500], 0xC000),
        (lambda each: b"no DICOM at all", 0xC000),
        (lambda each: b"", 0xC000),
    ],
    ids=["mr", "other uid", "path", "cut meta", "cut", "none", "empty"],
)
def test_what_c_store_would_refuse_is_refused_and_the_others_are_kept(
    door, settings, ct_series, make, reason
):
    good, bad = ct_series(slices=2)
    path = spooled(settings, bad)
    answer = post(door, body(make(bad), file_of(good)))
    assert answer.status_code == 202
    module = module_of(answer)
    (failure,) = module.OtherFailuresSequence
    assert failure.FailureReason == reason
    assert len(module.ReferencedSOPSequence) == 1
    assert spooled(settings, good).exists()
    assert not path.exists()
    assert post(door, body(make(bad))).status_code == 409


def test_an_instance_of_another_study_than_the_address_names_is_refused(door, ct_series):
    one, other = ct_series(slices=2)
    other.StudyInstanceUID = generate_uid()
    path = f"/studies/{one.StudyInstanceUID}"
    answer = post(door, body(file_of(one), file_of(other)), path)
    assert answer.status_code == 202
    (failure,) = module_of(answer).FailedSOPSequence
    assert failure.ReferencedSOPInstanceUID == other.SOPInstanceUID
    assert failure.FailureReason == 0xA900


def test_a_body_that_breaks_off_keeps_what_was_whole(door, settings, ct_series):
    one, other = ct_series(slices=2)
    answer = post(door, body(file_of(one), file_of(other)[:300], end=False))
    assert answer.status_code == 400
    assert "breaks off" in answer.json()["error"]
    assert spooled(settings, one).exists()
    assert not spooled(settings, other).exists()


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"--b\r\n", {"Content-Type": "application/dicom"}, 415),
        (body(b"x"), {"Content-Type": RELATED.replace("dicom", "dicom+json")}, 415),
        (body(b"x"), {"Content-Encoding": "gzip"}, 415),
        (body(b"x"), {"Accept": "application/dicom+xml"}, 406),
        (b"nothing like it", {}, 400),
        (b"", {}, 400),
        (b"--b--\r\n", {}, 400),
        (body(b"x"), {"Content-Type": RELATED + "b" * 300}, 400),
    ],
)
def test_a_request_of_another_kind_is_named(door, content, headers, status):
    answer = post(door, content, **headers)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]


def test_who_does_not_log_in_or_is_no_caller_is_refused(node, ct_series):
    content = body(file_of(ct_series(slices=1)[0]))
    for auth, status in (
        (None, 401),
        (("CT-1", "wrong"), 401),
        (("CT-2", TOKEN), 403),
        (("ECHO", TOKEN), 403),
    ):
        url = "http://{}:{}/dicom-web/studies".format(*node.http)
        headers = {"Content-Type": RELATED}
        answer = httpx.post(url, content=content, headers=headers, auth=auth, timeout=GENEROUS_S)
        assert answer.status_code == status


def test_a_caller_that_must_show_a_certificate_is_not_known_by_its_login(settings):
    named = settings.model_copy(
        update={"callers": (CallerSection(ae_title=CT_MODALITY, certificate="ct.example"),)}
    )
    assert _stored(named, body(b"")).status_code == 403


def test_a_caller_with_a_rate_is_answered_later(settings, ct_series, monkeypatch):
    caller = CallerSection(ae_title=CT_MODALITY, rate=0.1)
    slow = settings.model_copy(update={"callers": (caller,)})
    waits = []

    async def wait(seconds):
        waits.append(seconds)

    # Of this module alone: a web server in another thread sleeps, too.
    monkeypatch.setattr(stow, "asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": wait}))
    assert _stored(slow, body(*map(file_of, ct_series(slices=4)))).status_code == 200
    assert waits[0] == 0
    assert waits[3] > 20  # three turns of ten seconds, less what the four have taken


def _stored(settings, content):
    """Return the answer of a door of its own, which hands nothing over."""
    spool = Spool(settings.node.data / "other spool")
    door = StowDoor(settings, spool, NullReceiveEvents())
    route = Route("/studies", door.store, methods=["POST"])
    application = Access(Starlette(routes=[route]), settings.http)
    asking = {"headers": {"Content-Type": RELATED}, "auth": (CT_MODALITY, TOKEN)}
    return InProcess(application).post("/studies", content=content, **asking)


def test_a_browser_of_another_site_is_refused(door):
    assert post(door, body(b"x"), Origin="https://evil.example").status_code == 403


def test_an_instance_larger_than_any_by_c_store_is_refused(door, monkeypatch):
    monkeypatch.setattr("dicom_node.web.stow.MESSAGE_BYTES", 1000)
    answer = post(door, body(bytes(2000)))
    assert answer.status_code == 413


def test_a_full_disk_is_answered_with_try_again(door, ct_series, monkeypatch):
    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("dicom_node.receive.spool.write_pieces_durably", full)
    answer = post(door, body(file_of(ct_series(slices=1)[0])))
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    (failure,) = module_of(answer).FailedSOPSequence
    assert failure.FailureReason == 0xA700


def test_a_gateway_that_is_drained_asks_to_try_again_and_keeps_nothing(
    settings, tmp_path, ct_series
):
    closed = [True]
    door = StowDoor(
        settings.model_copy(update={"callers": []}),
        Spool(tmp_path / "spool"),
        NullReceiveEvents(),
        lambda: closed[0],
    )
    application = Starlette(routes=[Route("/studies", door.store, methods=["POST"])])
    asked = InProcess(Access(application, settings.http))
    login = {"Authorization": f"Bearer {TOKEN}", "Content-Type": RELATED}
    content = body(file_of(ct_series(slices=1)[0]))
    refused = asked.post("/studies", content=content, headers=login)
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "30"
    closed[0] = False
    assert asked.post("/studies", content=content, headers=login).status_code == 200
