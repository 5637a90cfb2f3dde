"""The operator's page, health, metrics and the state of jobs, of a running node."""

import base64
import json
import re
import time
import zipfile
from dataclasses import replace
from datetime import UTC, datetime
from html import escape
from io import BytesIO
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
from pydantic import ValidationError
from pydicom import dcmread
from pydicom.uid import generate_uid
from starlette.applications import Starlette

from dicom_node.config.settings import Settings
from dicom_node.corrections.register import CorrectionRegister
from dicom_node.data_folder import DataFolder
from dicom_node.deliver.c_store_scu import StorePeer
from dicom_node.errors import AlreadyRunning, BadConfiguration, PeerUnavailable
from dicom_node.jobs.ledger import Ledger, open_ledger
from dicom_node.jobs.state import State
from dicom_node.jobs.viewer_link import viewer_link
from dicom_node.net.http.serving import serving
from dicom_node.node.node import running_node
from dicom_node.pipeline.outcome import Outcome, Verdict, combine
from dicom_node.results.attributes.segment_description import Algorithm
from dicom_node.results.phantom import write_series
from dicom_node.web.server import application
from dicom_node.web.view import Arriving, NodeView, RunningProcess
from engine.phantom import make_phantom
from engine.volume import Label
from tests.dicom_node.corrections.drawn import correction
from tests.dicom_node.node_process import Thresholds
from tests.dicom_node.web.in_process import InProcess
from tests.engine.toy_model import write_toy_model
from tests.waiting import GENEROUS_S, wait_until

VIEWER = "https://viewer.example/viewer?StudyInstanceUIDs={study}&initialSeriesInstanceUID={series}"
TOKEN = "a-long-password"


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("node")
    return Settings(
        node={"data": folder / "data", "port": 0},
        receive={"quiet_s": 0.2, "keep_free_mb": 0},
        engine={"model": write_toy_model(folder / "model")},
        peers={
            "shelf": {"kind": "folder", "folder": folder / "shelf", "objects": ["seg", "montage"]}
        },
        http={"port": 0, "token": TOKEN, "open": True, "names": ["node.example"]},
        viewer={"url": VIEWER, "correct_url": VIEWER.replace("/viewer?", "/segmentation?")},
    )


class Spotting(Thresholds):
    """A device that takes a square in the middle of the phantom's liver for tumour."""

    def run(self, hu, spacing_mm):
        answer = super().run(hu, spacing_mm)
        for plane in answer.labels:
            if plane.any():
                row, column = np.median(np.argwhere(plane), axis=0).astype(int)
                spot = plane[row - 2 : row + 2, column - 2 : column + 2]
                spot[spot > 0] = Label.TUMOUR
        return answer


@pytest.fixture(scope="module")
def node(settings):
    with running_node(settings, open_device=lambda model, settings: Spotting()) as node:
        yield node


@pytest.fixture(scope="module")
def web(node):
    with httpx.Client(base_url="http://{}:{}".format(*node.http), timeout=GENEROUS_S) as client:
        yield client


@pytest.fixture(scope="module")
def done(node, web, tmp_path_factory):
    """A series that was segmented, and its job as JSON."""
    made = make_phantom(shape=(20, 64, 64), spacing_mm=(10, 6, 6), noise_hu=2, tumours=0)
    paths = write_series(made, generate_uid(), tmp_path_factory.mktemp("sent"))
    for path in paths:
        instance = dcmread(path)
        instance.AccessionNumber, instance.StudyDescription = "ACC-4711", "Staging Doe"
        instance.StudyDate = "20250317"
        instance.save_as(path)
    source = dcmread(paths[0])
    assert web.get("/jobs", params={"study": source.StudyInstanceUID}).json() == []
    StorePeer("node", node.ae_title, *node.address).send_many(paths)
    return SimpleNamespace(source=source, job=settled(web, source.StudyInstanceUID))


def settled(web, study):
    for _ in range(600):
        jobs = web.get("/jobs", params={"study": study}).json()
        if jobs and State(jobs[0]["state"]).settled:
            return jobs[0]
        time.sleep(0.1)
    raise TimeoutError(f"not settled: {jobs}")


def login(user="anna", password=TOKEN):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.mark.parametrize("path", ["/health", "/healthz", "/readyz"])
def test_a_node_that_works_is_healthy_and_ready(web, path):
    answer = web.get(path)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["ae_title"], found["model"], found["model_version"]) == ("HEPAR", "toy", "0.1")
    assert found["checks"]
    assert all(check["ok"] for check in found["checks"].values())


def test_a_studys_jobs_name_no_patient_and_no_folder(done, settings):
    job = done.job
    assert (job["state"], job["ending"], job["slices"]) == ("done", "segmented", 20)
    assert job["series"] == done.source.SeriesInstanceUID
    assert {each["item"]: each["state"] for each in job["deliveries"]} == {
        "seg": "done",
        "montage": "done",
    }
    assert done.source.PatientID not in json.dumps(job)
    assert str(settings.node.data.parent) not in json.dumps(job)


def test_a_job_links_to_its_result_in_the_viewer(done, settings):
    segs = [dcmread(file) for file in settings.peers["shelf"].folder.glob("*.dcm")]
    (seg,) = [each for each in segs if each.Modality == "SEG"]
    study, series = seg.StudyInstanceUID, seg.SeriesInstanceUID
    assert done.job["viewer"] == VIEWER.format(study=study, series=series)


def test_the_page_of_a_job_links_to_each_stack_in_the_viewer(web, done, monkeypatch):
    at = f"/jobs/{done.job['job']}"
    assert f'<a href="{escape(done.job["viewer"])}">Open in the viewer</a>' in web.get(at).text
    stacks = [
        Outcome(Verdict.SEGMENTED, stack="a", label="KVP 80", seg_series_uid="1.80"),
        Outcome(Verdict.REFUSED, "uneven", stack="b", label="KVP 140"),
    ]
    found = Ledger.find
    monkeypatch.setattr(
        Ledger,
        "find",
        lambda *given: replace(found(*given), outcome=combine(stacks)),
    )
    page = web.get(at).text
    link = VIEWER.format(study=done.job["study"], series="1.80")
    assert f'<a href="{escape(link)}">Open KVP 80 in the viewer</a>' in page
    assert page.count("in the viewer") == 1


def test_the_page_lists_jobs_and_chooses_among_them(web, done):
    series = done.job["series"]
    assert series[-16:] in web.get("/").text
    assert series[-16:] in web.get("/", params={"state": "done", "peer": "shelf"}).text
    asked = {True: "yes", False: "no"}
    assert series[-16:] in web.get("/", params={"review": asked[bool(done.job["review"])]}).text
    unasked = {"review": asked[not done.job["review"]]}
    for other in ({"state": "failed"}, {"text": "no such words"}, unasked):
        assert series[-16:] not in web.get("/", params=other).text


def test_the_page_states_when_a_peer_last_received_a_result(web, done):
    (row,) = re.findall(r'<th scope="row">shelf</th>.*?</tr>', web.get("/").text, re.DOTALL)
    (at,) = re.findall(r'<td>2</td><td><time datetime="([^"]+)">', row)
    # Both are in whole seconds.
    assert datetime.fromisoformat(done.job["created"]) <= datetime.fromisoformat(at)
    assert row.count("<time") == 1  # no attempt is to come


def test_htmx_is_answered_with_the_changing_part_alone(web, done):
    part = web.get("/", headers={"HX-Request": "true"}).text
    assert done.job["series"][-16:] in part
    assert "<html" not in part


def test_the_page_of_a_job_shows_figures_and_the_contours(web, done):
    page = web.get(f"/jobs/{done.job['job']}").text
    assert f"{done.job['millilitres']['liver']:.1f} ml" in page
    assert "Agreement of the members" in page
    picture = web.get(f"/jobs/{done.job['job']}/montage.png")
    assert picture.headers["content-type"] == "image/png"
    assert picture.content.startswith(b"\x89PNG")


def test_every_job_has_a_picture_of_its_contours_also_where_no_peer_receives_one(
    web, done, settings
):
    job = done.job["job"]
    data = DataFolder(settings.node.data)
    assert data.pictures_of(job) == [data.result(job).with_suffix(".png")]
    assert f'src="/jobs/{job}/pictures/1.png"' in web.get(f"/jobs/{job}").text
    assert web.get(f"/jobs/{job}/pictures/1.png").content == data.pictures_of(job)[0].read_bytes()
    assert web.get(f"/jobs/{job}/pictures/2.png").status_code == 404
    assert data.pictures_of(job)[0] in data.results_of(job)  # removed with them


def test_the_page_states_which_peers_answer(web, done):
    def row():
        (found,) = re.findall(r'<th scope="row">shelf</th>.*?</tr>', web.get("/").text, re.DOTALL)
        return found

    wait_until(lambda: '<span class="state done">yes</span>' in row())


def test_the_page_of_a_job_has_the_grid_the_volumes_and_each_lesion(web, done, settings):
    with open_ledger(settings.database_url) as ledger:
        found = ledger.find(done.job["job"]).outcome.summary
    page = " ".join(web.get(f"/jobs/{done.job['job']}").text.split())
    assert found.lesions
    for text in ("20, 10.00 mm apart", "64 × 64", "6.00 × 6.00 mm", f"{found.tumour_ml:.1f} ml, "):
        assert f"<dd>{text}" in page
    for each in found.lesions:
        assert (
            f'<th scope="row">{each.number}</th><td>{each.position}</td>'
            f"<td>{each.volume_ml:.1f} ml</td>"
            f" <td>{each.longest_mm:.1f} × {each.perpendicular_mm:.1f} mm</td>"
            f" <td>{each.mean_hu:.0f} HU</td><td>{each.slice_number} of 20</td>"
        ) in page


def test_the_page_of_a_job_names_what_another_caller_sent(web, done, monkeypatch):
    note = "2026-11-28 10:00 UTC: <b>ROGUE</b> sent instance 1.2 of CT1 with other content; refused"
    found = Ledger.find
    monkeypatch.setattr(
        Ledger, "find", lambda *given: replace(found(*given), refused_copies=(note,))
    )
    assert f"{escape(note)}." in web.get(f"/jobs/{done.job['job']}").text


def test_a_report_is_read_after_a_login_alone(web, done, settings):
    """The page that is made with the PDF names the patient."""
    at = f"/jobs/{done.job['job']}/reports/1"
    assert web.get(at, headers=login()).status_code == 404
    page = DataFolder(settings.node.data).result(done.job["job"]).with_suffix(".pdf.html")
    page.write_text("<p>Doe^Jane</p>")
    try:
        assert at in web.get(f"/jobs/{done.job['job']}").text
        refused, answer = web.get(at), web.get(at, headers=login())
    finally:
        page.unlink()
    assert refused.status_code == 401
    assert "Doe" not in refused.text
    assert answer.text == "<p>Doe^Jane</p>"
    assert "img-src data:" in answer.headers["Content-Security-Policy"]
    assert "script-src" not in answer.headers["Content-Security-Policy"]


def test_a_pause_of_a_delivery_that_was_not_refused_stands_alone(web, done, monkeypatch):
    due = datetime(2026, 1, 2, 3, 4, 5).astimezone()
    monkeypatch.setattr(Ledger, "next_attempt", lambda ledger, delivery: due)
    monkeypatch.setattr(Ledger, "last_refusal", lambda ledger, delivery: "")
    found = web.get(f"/jobs/{done.job['job']}").text
    remarks = re.findall(r"<td>([^<]*)<time[^>]*>2026-01-02 03:04:05</time></td>", found)
    assert remarks
    assert all(re.fullmatch("(confirmed by [a-z ]+; )?next attempt ", each) for each in remarks)


def test_each_page_has_an_icon_so_that_the_browser_looks_for_none(web):
    (icon,) = re.findall(r'<link rel="icon" href="([^"]+)"', web.get("/").text)
    assert web.get(icon).headers["content-type"].startswith("image/svg+xml")


def test_no_patient_is_on_any_page(web, done):
    for path in ("/", f"/jobs/{done.job['job']}", "/metrics"):
        assert str(done.source.PatientName) not in web.get(path).text


@pytest.mark.parametrize("path", ["/jobs/absent", "/patients", "/jobs/absent/montage.png"])
def test_what_is_not_there_is_named(web, path):
    answer = web.get(path)
    assert answer.status_code == 404
    assert answer.json()["error"]


def test_jobs_of_no_study_are_refused_with_what_would_do(web):
    answer = web.get("/jobs")
    assert (answer.status_code, answer.json()) == (
        400,
        {"error": "no study named; use /jobs?study=UID"},
    )


def test_a_change_needs_a_login_and_is_recorded(web, done, caplog):
    caplog.set_level("INFO", "dicom_node")
    path = f"/jobs/{done.job['job']}/retry"
    refused = web.post(path)
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith("Basic")
    assert web.post(path, headers=login(password="wrong")).status_code == 401
    assert web.post(path, headers=login()).status_code == 303
    (record,) = [each for each in caplog.records if getattr(each, "action", "") == "operator"]
    assert "retry by anna: nothing to do, it is done" in record.getMessage()
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    assert web.post(path, headers=bearer).status_code == 303


@pytest.mark.parametrize(
    "headers",
    [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}, {"Origin": "null"}],
)
def test_a_change_from_another_site_is_refused_even_with_a_login(web, done, headers):
    answer = web.post(f"/jobs/{done.job['job']}/remove", headers={**login(), **headers})
    assert answer.status_code == 403
    assert web.get(f"/jobs/{done.job['job']}").status_code == 200


def recorded(caplog):
    """The lines that name an operator."""
    lines = [each for each in caplog.records if getattr(each, "action", "") == "operator"]
    return [each.getMessage() for each in lines]


def press(web, done, action):
    return web.post(f"/jobs/{done.job['job']}/{action}", headers=login())


@pytest.mark.parametrize("action", ["retry", "redo", "send/shelf", "urge", "bundle", "remove"])
def test_each_action_needs_a_login_and_a_job(web, done, action):
    assert web.post(f"/jobs/{done.job['job']}/{action}").status_code == 401
    assert web.post(f"/jobs/absent/{action}", headers=login()).status_code == 404


def test_a_result_is_sent_to_a_peer_again(web, done, settings, caplog):
    caplog.set_level("INFO", "dicom_node")
    shelf = settings.peers["shelf"].folder
    before = sorted(shelf.glob("*.dcm"))
    for file in before:
        file.unlink()
    assert press(web, done, "send/shelf").status_code == 303
    wait_until(lambda: sorted(shelf.glob("*.dcm")) == before)
    assert recorded(caplog) == ["send to shelf by anna: send to shelf, shelf (montage)"]
    settled(web, done.job["study"])
    assert "Last action: send to shelf by anna" in web.get(f"/jobs/{done.job['job']}").text
    assert press(web, done, "send/nobody").status_code == 404


def test_a_series_is_segmented_again(web, done, settings, caplog):
    caplog.set_level("INFO", "dicom_node")
    with open_ledger(settings.database_url) as ledger:
        before = ledger.find(done.job["job"]).finished
        assert press(web, done, "redo").status_code == 303
        wait_until(lambda: (ledger.find(done.job["job"]).finished or before) > before)
    assert recorded(caplog) == ["redo by anna: segment again"]
    assert settled(web, done.job["study"])["state"] == "done"


def test_urging_what_is_done_changes_nothing_and_is_recorded_too(web, done, caplog):
    caplog.set_level("INFO", "dicom_node")
    press(web, done, "urge")
    assert recorded(caplog) == ["urge by anna: nothing to do, it is done"]


def test_a_bundle_is_a_zip_without_the_patient(web, done, caplog):
    caplog.set_level("INFO", "dicom_node")
    answer = press(web, done, "bundle")
    assert answer.headers["content-disposition"] == (
        f'attachment; filename="{done.job["job"]}.zip"'
    )
    with zipfile.ZipFile(BytesIO(answer.content)) as bundle:
        names = bundle.namelist()
        packed = b"".join(map(bundle.read, names))
    assert len(names) == 21
    for secret in (done.source.PatientID, "ACC-4711", "Staging Doe"):
        assert str(secret).encode() not in packed
    assert recorded(caplog) == ["bundle by anna: 20 instances"]


def test_the_page_has_a_button_for_each_action_that_fits_and_the_links(web, done):
    page = web.get(f"/jobs/{done.job['job']}").text
    buttons = set(re.findall(rf'action="/jobs/{done.job["job"]}/([^"]+)"', page))
    assert buttons == {"redo", "send/shelf", "bundle", "remove"}  # it is done: nothing to retry
    link = escape(done.job["viewer"]).replace("/viewer?", "/segmentation?")
    assert f'<a href="{link}">Correct the contours</a>' in page


SEEN = ("ACC-4711", "2025-03-17", "Staging Doe")
"""Of the study; its UID is beside them on the page of the job."""


def view_of(node, settings, **changes):
    """Return a view of the node that nothing but a test changes."""
    return NodeView(
        settings,
        Algorithm("toy", "0.1", "ab" * 32, "cpu"),
        node.address,
        changes.pop("arriving", list),
        lambda: True,
        lambda: "cpu",
        **changes,
    )


class Away:
    name = "shelf"

    def echo(self):
        raise PeerUnavailable("nobody answers at 192.0.2.1:104")


def test_what_arrives_is_shown_with_its_progress_and_a_peer_that_is_away_with_the_reason(
    node, settings
):
    def arriving():
        return [Arriving("1.1", "1.2.4711", 30, 120), Arriving("1.1", "1.2.4712", 1)]

    view = view_of(node, settings, arriving=arriving, peers={"shelf": Away()})
    with open_ledger(settings.database_url) as ledger:
        client = InProcess(application(view, ledger))
        wait_until(lambda: "nobody answers at 192.0.2.1:104" in client.get("/").text)
        page = " ".join(client.get("/").text.split())
    assert '<progress max="120" value="30"' in page
    assert "30 of 120 instances" in page
    assert "1 instance so far" in page


class Processes:
    """Two gateways, a page, and a worker that is dead."""

    def __init__(self):
        self.asked = []

    def all(self):
        begun = datetime(2026, 5, 1, tzinfo=UTC)
        shown = ("receive-a-1", "taking work", True), ("receive-b-1", "draining", True)
        alive = [
            RunningProcess(name, "receive", "host", "0.1.0", begun, True, (), duty, drainable)
            for name, duty, drainable in (*shown, ("web-1", "taking work", False))
        ]
        duty = "drained"  # before it died
        return [
            *alive,
            RunningProcess("work-c-1", "work", "host", "0.1.0", begun, False, (), duty, False),
        ]

    def drain(self, name, undo):
        if name == "web-1":
            raise BadConfiguration("web-1 takes no work")
        self.asked.append((name, undo))


def test_processes_are_drained_from_the_page_after_a_login(node, settings, caplog):
    caplog.set_level("INFO", "dicom_node")
    cluster = Processes()
    view = view_of(node, settings, processes=cluster.all, drain=cluster.drain)
    with open_ledger(settings.database_url) as ledger:
        client = InProcess(application(view, ledger))
        page = " ".join(client.get("/", headers=login()).text.split())
        assert page.count('action="/processes/') == 2
        assert 'action="/processes/receive-a-1/drain"><button>Drain<' in page
        assert "<td>draining</td>" in page
        assert "work-c-1" in page
        assert "<td>drained</td>" not in page  # nothing is stated of what a dead one takes
        assert 'action="/processes/receive-b-1/undo"><button>Take work again<' in page
        assert client.post("/processes/receive-a-1/drain").status_code == 401
        assert client.post("/processes/receive-a-1/away", headers=login()).status_code == 404
        assert client.post("/processes/web-1/drain", headers=login()).status_code == 409
        assert cluster.asked == []
        client.post("/processes/receive-a-1/drain", headers=login())
        client.post("/processes/receive-b-1/undo", headers=login())
    assert cluster.asked == [("receive-a-1", False), ("receive-b-1", True)]
    assert "drain receive-a-1 by anna" in caplog.text


def test_a_node_that_is_one_process_drains_none(web):
    assert web.post("/processes/serve-1/drain", headers=login()).status_code == 404


@pytest.fixture(scope="module")
def showing(node, settings):
    """A client of the same node with `http.show_patient`."""
    http = settings.http.model_copy(update={"show_patient": True})
    view = view_of(node, settings.model_copy(update={"http": http}))
    with open_ledger(settings.database_url) as ledger:
        yield InProcess(application(view, ledger))


def test_study_and_accession_number_are_shown_to_nobody_by_default(web, done):
    uid = f"<code>{done.job['study']}</code>"
    for path in ("/", f"/jobs/{done.job['job']}"):
        for headers in ({}, login()):
            page = web.get(path, headers=headers).text
            assert done.job["series"][-16:] in page
            assert not [each for each in (*SEEN, uid) if each in page]
    assert done.job["series"][-16:] not in web.get("/", params={"text": "acc-4711"}).text


def test_with_show_patient_those_who_logged_in_see_them(showing, done):
    uid, series = f"<code>{done.job['study']}</code>", done.job["series"][-16:]
    for path, seen in (("/", SEEN), (f"/jobs/{done.job['job']}", (*SEEN, uid))):
        without, after = showing.get(path).text, showing.get(path, headers=login()).text
        assert series in without
        assert not [each for each in seen if each in without]
        assert [each for each in seen if each in after] == [*seen]
        for patient in (str(done.source.PatientName), str(done.source.PatientID)):
            assert patient not in after
    search = {"text": "acc-4711"}
    assert series in showing.get("/", params=search, headers=login()).text
    assert series not in showing.get("/", params=search).text


def test_show_patient_without_a_login_is_refused():
    with pytest.raises(ValidationError, match="HEPAR_HTTP__TOKEN"):
        Settings(http={"port": 8000, "show_patient": True})
    assert not Settings(http={"port": 8000}).http.show_patient


def test_the_page_names_the_model_and_the_device(web, done):
    page = " ".join(web.get("/").text.split())
    assert "<dt>Model</dt><dd>toy 0.1</dd>" in page
    assert "<dt>Device in use</dt><dd>thresholds</dd>" in page
    assert "No TensorRT plan is built" in page


def test_jobs_are_chosen_by_modality(web, done):
    series = done.job["series"][-16:]
    assert series in web.get("/", params={"modality": "CT"}).text
    assert series not in web.get("/", params={"modality": "PT"}).text


def test_an_unknown_change_is_refused(web, done):
    assert web.post(f"/jobs/{done.job['job']}/explode", headers=login()).status_code == 404


def test_a_name_that_is_not_the_nodes_is_refused(web):
    for host in ("evil.example", "evil.example:80", "[", ""):
        assert web.get("/", headers={"Host": host}).status_code == 421
    for host in ("node.example", "NODE.example:8080", "127.0.0.1:1", "[::1]", "localhost"):
        assert web.get("/", headers={"Host": host}).status_code == 200


def test_every_answer_limits_what_a_page_may_do(web):
    for path in ("/", "/healthz", "/static/page.css", "/absent"):
        headers = web.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_the_pages_show_corrections_and_outlive_a_damaged_register(web, done, settings):
    path = DataFolder(settings.node.data).corrections
    register = CorrectionRegister(path)
    register.keep(correction(job=done.job["job"]))
    register.keep(correction(job="", reason="another frame of reference", dice={}))
    shown = web.get(f"/jobs/{done.job['job']}").text
    assert "Corrections by people" in shown
    assert "0.90" in shown
    page = web.get("/").text
    assert "Maker Model 1 CT-2" in page
    assert "was not compared: another frame of reference" in page
    path.write_bytes(b"nothing of a database" * 100)
    for address in ("/", f"/jobs/{done.job['job']}", "/metrics"):
        assert web.get(address).status_code == 200
    path.unlink()
    assert "No correction has come yet" in web.get("/").text


def test_metrics_count_each_series_once(web, done):
    for _ in range(2):
        text = web.get("/metrics").text
    assert 'hepar_series_total{state="done"} 1.0' in text
    assert 'hepar_deliveries_total{peer="shelf",state="done"} 2.0' in text
    assert "hepar_slices_total 20.0" in text
    (accepted,) = re.findall(r'^hepar_associations_total{outcome="accepted"} (.+)$', text, re.M)
    assert float(accepted) >= 1  # besides the series, the node's own checks
    assert "hepar_instances_total 20.0" in text
    (received,) = re.findall(r"^hepar_received_bytes_total (.+)$", text, re.MULTILINE)
    assert float(received) > 20 * 64 * 64 * 2
    assert 'hepar_check{check="listener"} 1.0' in text
    assert 'hepar_stage_seconds_count{stage="read"} 1.0' in text


def test_a_port_that_is_taken_is_named(node, settings, tmp_path):
    taken = settings.model_copy(
        update={
            "node": settings.node.model_copy(update={"data": tmp_path / "other"}),
            "http": settings.http.model_copy(update={"port": node.http[1]}),
        }
    )
    with (
        pytest.raises(AlreadyRunning, match=r"set http\.port"),
        serving(Starlette(), (taken.http.host, taken.http.port), "http"),
    ):
        pass


def test_there_is_no_link_without_a_result_or_without_a_viewer():
    made = Outcome(Verdict.SEGMENTED, seg_series_uid="1.3")
    nothing = Outcome(Verdict.NOTHING_FOUND, "no liver")
    template = "http://v/{study}/{series}"
    assert viewer_link(template, "1.1", made) == "http://v/1.1/1.3"
    assert viewer_link(template, "1.1", nothing) is None
    assert viewer_link(template, "1.1", None) is None
    assert viewer_link(None, "1.1", made) is None


@pytest.mark.parametrize("url", ["ftp://v/{study}/{series}", "http://v/{study}", "http://v/{0}"])
def test_an_address_that_names_no_result_is_refused(url):
    with pytest.raises(ValidationError):
        Settings(viewer={"url": url})


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "node.example"])
def test_an_address_that_others_reach_needs_a_login(host):
    with pytest.raises(ValidationError, match="HEPAR_HTTP__TOKEN"):
        Settings(http={"host": host, "port": 8000})
    for guard in ({"token": TOKEN}, {"user_header": "X-User"}, {"open": True}):
        assert Settings(http={"host": host, "port": 8000, **guard}).http.host == host
    assert Settings(http={"host": host}).http.port is None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_needs_no_login(host):
    assert Settings(http={"host": host, "port": 8000}).http.token is None
