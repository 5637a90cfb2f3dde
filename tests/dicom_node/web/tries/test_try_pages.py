"""The page "Try" of a running node: through HTTP, and in a real browser."""

import gzip
import re
import time
import zipfile
from io import BytesIO
from types import SimpleNamespace

import httpx
import nibabel
import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread

from dicom_node.config.settings import Settings
from dicom_node.node.node import running_node
from dicom_node.results.phantom import write_series
from engine.phantom import make_phantom
from tests.dicom_node.web.test_server import TOKEN, Spotting, login
from tests.engine.toy_model import write_toy_model
from tests.system.browser import CHROMIUM, FLAGS, PATIENCE_MS
from tests.waiting import GENEROUS_S

SLICES = 16
MOST_MB = 3


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("node")
    return Settings(
        node={"data": folder / "data", "port": 0},
        receive={"quiet_s": 0.2, "keep_free_mb": 0},
        engine={"model": write_toy_model(folder / "model")},
        http={"port": 0, "token": TOKEN, "open": True, "try_mb": MOST_MB},
    )


@pytest.fixture(scope="module")
def node(settings):
    with running_node(settings, open_device=lambda model, settings: Spotting()) as node:
        yield node


@pytest.fixture(scope="module")
def web(node):
    """A client that logged in."""
    address = "http://{}:{}".format(*node.http)
    with httpx.Client(base_url=address, timeout=GENEROUS_S, headers=login()) as client:
        yield client


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """A zip of a phantom, whose names are a patient's."""
    folder = tmp_path_factory.mktemp("phantom")
    made = make_phantom(shape=(SLICES, 64, 64), spacing_mm=(12, 6, 6), noise_hu=2, tumours=0)
    paths = write_series(made, "tried", folder / "series")
    with zipfile.ZipFile(folder / "Doe^Jane.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in paths:
            archive.write(path, f"Doe^Jane/{path.name}")
    return folder / "Doe^Jane.zip"


def upload(web, content, name="Doe^Jane.zip", **options):
    return web.post("/try", files={"file": (name, content)}, **options)


@pytest.fixture(scope="module")
def done(web, packed):
    """The address of an upload that was computed."""
    answer = upload(web, packed.read_bytes())
    assert answer.status_code == 303
    at = answer.headers["location"]
    computed(web, at)
    return at


def computed(web, at):
    """Return the page of an upload once it is computed."""
    for _ in range(600):
        page = web.get(at).text
        if 'class="scan"' in page:
            return page
        time.sleep(0.2)
    raise TimeoutError(page)


def labels_in(seg):
    """Voxels of a SEG as (slices, rows, columns), by their height."""
    planes = {}
    shared = seg.SharedFunctionalGroupsSequence[0]
    pixels = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    for frame, mask in zip(seg.PerFrameFunctionalGroupsSequence, pixels, strict=True):
        z = round(float(frame.PlanePositionSequence[0].ImagePositionPatient[2]), 2)
        groups = frame if "SegmentIdentificationSequence" in frame else shared
        number = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        planes.setdefault(z, np.zeros(mask.shape, np.uint8))[mask > 0] = number
    return planes


def require_same_voxels(seg, nifti):
    """Fail unless a SEG and a NIfTI hold the same labels at the same heights."""
    planes = labels_in(dcmread(BytesIO(seg)))
    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(nifti))
    values = np.asarray(image.dataobj)
    for slice_ in range(values.shape[2]):
        z = round(float((image.affine @ [0, 0, slice_, 1])[2]), 2)
        expected = planes.pop(z, np.zeros(values.shape[1::-1], np.uint8))
        assert np.array_equal(values[:, :, slice_].T, expected)
    assert planes == {}
    assert {*np.unique(values)} == {0, 1, 2}


def test_the_results_of_an_upload_are_files_that_agree(web, done):
    files = {
        kind: web.get(f"{done}/1/files/{kind}") for kind in ("seg", "nifti", "pdf", "csv", "json")
    }
    assert {kind: each.status_code for kind, each in files.items()} == dict.fromkeys(files, 200)
    require_same_voxels(files["seg"].content, files["nifti"].content)
    assert files["pdf"].content.startswith(b"%PDF-")
    assert files["pdf"].content.rstrip().endswith(b"%%EOF")
    assert 'filename="hepar-series-1-seg.dcm"' in files["seg"].headers["content-disposition"]
    page = " ".join(web.get(done).text.split())
    liver = files["json"].json()["liver_ml"]
    assert f"<dd>{liver:.1f} ml</dd>" in page


def test_each_slice_is_a_picture_and_its_contours_lie_over_it(web, done):
    marked = [
        int(each) for each in re.findall(r'data-marked="([^"]*)"', web.get(done).text)[0].split()
    ]
    assert marked
    for number in (1, marked[0], SLICES):
        grey = Image.open(BytesIO(web.get(f"{done}/1/slices/{number}/grey").content))
        contours = web.get(f"{done}/1/slices/{number}/contours")
        drawn = np.asarray(Image.open(BytesIO(contours.content)))
        assert grey.size == drawn.shape[1::-1] == (768, 768)
        assert bool(drawn[..., 3].any()) is (number in marked)
    for absent in ("0/grey", f"{SLICES + 1}/grey", "1/other"):
        assert web.get(f"{done}/1/slices/{absent}").status_code == 404
    assert web.get(f"{done}/2/slices/1/grey").status_code == 404
    assert web.get(f"{done}/1/files/exe").status_code == 404


@pytest.mark.parametrize("below", ["", "/1/slices/1/grey", "/1/files/seg"])
def test_an_upload_is_seen_after_a_login_alone(web, done, below):
    for headers in ({"Authorization": ""}, login(password="wrong")):
        assert web.get(done + below, headers=headers).status_code == 401
    assert web.get(done + below).status_code == 200


def test_nobody_uploads_or_removes_without_a_login_or_from_another_site(web, done, packed):
    without, elsewhere = {"Authorization": ""}, {"Sec-Fetch-Site": "cross-site"}
    for headers, status in ((without, 401), (elsewhere, 403)):
        assert upload(web, b"x", headers=headers).status_code == status
        assert web.post(f"{done}/remove", headers=headers).status_code == status
    assert web.get("/try", headers=without).status_code == 401
    assert web.get(done).status_code == 200


def test_neither_log_nor_address_nor_page_names_a_file_or_the_patient(
    web, packed, caplog, settings
):
    caplog.set_level("DEBUG", "dicom_node")
    at = upload(web, packed.read_bytes()).headers["location"]
    page = computed(web, at)
    patient = dcmread(BytesIO(zipfile.ZipFile(packed).read("Doe^Jane/0001.dcm")))
    for secret in (
        "Doe",
        str(patient.PatientName),
        str(patient.PatientID),
        str(settings.node.data),
    ):
        assert secret not in at + page
        assert secret == str(settings.node.data) or secret not in caplog.text
    assert "try by anna: 1 file, 0 MB" in caplog.text
    assert web.post(f"{at}/remove").status_code == 303
    assert "try by anna: removed" in caplog.text
    assert web.get(at).status_code == 404
    assert not (settings.node.data / at.replace("/try", "tries", 1)).exists()


def test_an_upload_that_is_too_large_is_refused_with_the_bound(web, settings):
    before = sorted((settings.node.data / "tries").iterdir())
    json = {"Accept": "application/json"}
    answer = upload(web, bytes((MOST_MB + 1) << 20), headers=json)
    assert answer.status_code == 413
    assert answer.json()["error"].startswith(
        f"the upload has more than {MOST_MB} MB; drop a single"
    )
    assert sorted((settings.node.data / "tries").iterdir()) == before


def test_the_length_that_a_sender_states_is_not_believed(web, settings):
    """Sent in chunks there is none."""

    def body():
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(MOST_MB + 1):
            yield bytes(1 << 20)
        yield b"\r\n--x--\r\n"

    before = sorted((settings.node.data / "tries").iterdir())
    form = {"Content-Type": "multipart/form-data; boundary=x", "Accept": "application/json"}
    answer = web.post("/try", content=body(), headers=form)
    assert (answer.status_code, answer.json()["error"][:29]) == (
        413,
        "the upload has more than 3 MB",
    )
    assert sorted((settings.node.data / "tries").iterdir()) == before


def test_no_upload_is_taken_that_the_disk_has_no_room_for(web, packed, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=1))
    answer = upload(web, packed.read_bytes(), headers={"Accept": "application/json"})
    assert answer.status_code == 507
    assert "receive.keep_free_mb" in answer.json()["error"]


@pytest.mark.parametrize(
    ("headers", "content"),
    [
        ({"Content-Type": "text/plain"}, b"x"),
        ({"Content-Type": "multipart/form-data; boundary=x"}, b"no parts"),
        ({"Content-Type": "multipart/form-data; boundary=x"}, b"--x\r\n\r\ncut"),
        ({"Content-Type": "multipart/form-data; boundary=x"}, b"--x--\r\n"),
    ],
)
def test_a_body_that_is_no_form_is_refused_on_the_page(web, settings, headers, content):
    before = sorted((settings.node.data / "tries").iterdir())
    answer = web.post("/try", content=content, headers=headers)
    assert answer.status_code == 400
    assert re.search(r'role="alert" >\s*\S', answer.text)
    assert sorted((settings.node.data / "tries").iterdir()) == before


def test_the_page_keeps_its_strict_policy(web, done):
    for path in ("/try", done):
        answer = web.get(path)
        assert "script-src 'self'; style-src 'self'" in answer.headers["content-security-policy"]
        assert not re.search(r"<script>|<script [^>]*>[^<]|style=|onclick=", answer.text)


def test_without_a_login_to_log_in_with_the_page_says_how_to_get_one(tmp_path, settings):
    from dicom_node.jobs.ledger import open_ledger
    from dicom_node.web.server import application
    from tests.dicom_node.web.in_process import InProcess
    from tests.dicom_node.web.tries.views import view_of

    bare = settings.model_copy(
        update={"http": settings.http.model_copy(update={"token": None, "open": False})}
    )
    with open_ledger(settings.database_url) as ledger:
        client = InProcess(application(view_of(bare), ledger))
        page = client.get("/try")
        assert page.status_code == 200
        assert "HEPAR_HTTP__TOKEN" in page.text
        assert "<form" not in page.text
        assert client.post("/try", files={"file": ("a", b"x")}).status_code == 403


@pytest.fixture(scope="module")
def browser():
    """A browser that logs in."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        context = opened.new_context(http_credentials={"username": "anna", "password": TOKEN})
        context.set_default_timeout(PATIENCE_MS)
        yield context
        opened.close()


COLOURED = """() => {
  const canvas = document.querySelector('canvas');
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  let pixels = 0;
  for (let i = 0; i < data.length; i += 4) pixels += data[i] - data[i + 2] > 60;
  return pixels;
}"""
"""Number of pixels that are no grey."""


def shows(page, slice_):
    page.wait_for_selector(f"canvas[data-shown='{slice_}']")


def test_a_person_drops_a_zip_scrolls_and_takes_the_files(browser, web, packed, tmp_path):
    page = browser.new_page()
    faults = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda each: faults.append(each.text) if "Policy" in each.text else None)
    page.goto(f"{web.base_url}/try")
    page.set_input_files("input[name=file]", packed)
    page.wait_for_selector("canvas[data-shown]")
    start = int(page.get_attribute("canvas", "data-shown"))
    shows(page, start)
    page.focus("canvas")
    page.keyboard.press("Home")
    shows(page, 1)
    page.keyboard.press("ArrowUp")
    shows(page, 2)
    page.hover("canvas")
    page.mouse.wheel(0, -100)
    shows(page, 3)
    page.focus(".controls input[type=range]")
    page.keyboard.press("End")
    shows(page, SLICES)
    assert page.inner_text("output") == f"slice {SLICES} of {SLICES}"
    page.click("text=Play")  # begins anew at the foot
    shows(page, 2)
    page.click("text=Pause")
    page.locator("button.jump").first.click()
    shows(page, start)
    assert page.evaluate(COLOURED) > 100
    page.uncheck("text=Contours")
    page.wait_for_function(f"() => ({COLOURED})() === 0")
    taken = {}
    for title in ("DICOM SEG", "NIfTI labels"):
        with page.expect_download() as download:
            page.click(f"text={title}")
        download.value.save_as(tmp_path / title)
        taken[title] = (tmp_path / title).read_bytes()
    require_same_voxels(taken["DICOM SEG"], taken["NIfTI labels"])
    assert faults == []
    page.close()


def test_a_person_reads_why_a_file_cannot_be_tried(browser, web, tmp_path):
    photograph, large = tmp_path / "photo.jpg", tmp_path / "large.nii"
    photograph.write_bytes(b"\xff\xd8\xff\xe0 a photograph")
    large.write_bytes(bytes((MOST_MB + 1) << 20))
    page = browser.new_page()
    page.goto(f"{web.base_url}/try")
    page.set_input_files("input[name=file]", large)
    page.wait_for_selector("p.error:visible")
    assert f"at most {MOST_MB}.0 MB" in page.inner_text("p.error")
    page.set_input_files("input[name=file]", photograph)
    page.wait_for_url("**/try/*")
    page.wait_for_selector("p.error:visible")
    assert "holds no scan" in page.inner_text("p.error")
    page.close()
