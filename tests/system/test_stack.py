"""`make stack` as a radiologist has it: a study in Orthanc, its liver in OHIF, a real browser."""

import io
import json
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread

from deploy.stack.errors import Missing
from deploy.stack.ohif import find_ohif
from deploy.stack.places import Ports, missing_packages
from deploy.stack.stack import Stack, running_stack
from dicom_node.phantom_series import write_series
from dicom_node.series import read_series, to_volume
from dicom_node.verify_report import LESIONS, VOLUME, read_groups
from engine.devices import open_device
from engine.model import load_model
from engine.phantom import Phantom, make_phantom
from engine.segment import segment
from engine.volume import Label, LabelMap, Volume
from tests.engine.toy import LIVER_HU, TUMOUR_HU, write_toy_model
from tests.system.browser import CHROMIUM, DECODED, IMAGE, LOSE, SHOW, browser_page, open_result

ARTEFACTS = Path(__file__).resolve().parents[2] / "artefacts"


@dataclass(frozen=True)
class Segmented:
    """A study that went all the way."""

    stack: Stack
    study: str
    """Orthanc's name of it."""
    state: dict[str, Any]
    """What the plugin says of its only series."""
    source: Path
    expected: LabelMap

    def get(self, path: str) -> Any:
        """What Orthanc answers through the proxy."""
        return json.loads(fetch(f"{self.stack.viewer}/orthanc/{path}"))


def fetch(url: str, body: bytes | None = None) -> bytes:
    with urllib.request.urlopen(url, body, timeout=60) as reply:
        return bytes(reply.read())


def paint(phantom: Phantom) -> Phantom:
    """The phantom with liver and tumours as the toy model looks for them, and nothing else so."""
    hu, labels = phantom.volume.hu.copy(), phantom.truth.labels
    hu[(hu >= 95) & (hu < 300)] = 90
    hu[labels == Label.LIVER], hu[labels == Label.TUMOUR] = LIVER_HU, TUMOUR_HU
    return replace(phantom, volume=Volume(hu, phantom.volume.geometry))


@pytest.fixture(scope="module")
def segmented(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Segmented]:
    """Upload a study as Orthanc's page does and wait until its result is in the archive."""
    require_browser()
    folder = tmp_path_factory.mktemp("stack")
    model = load_model(write_toy_model(folder / "toy"))
    phantom = paint(make_phantom(shape=(30, 256, 256), spacing_mm=(8, 1.5, 1.5)))
    files = write_series(phantom, "in the browser", folder / "series")
    expected = segment(to_volume(read_series(files)), open_device(model)).label_map
    with running_stack(
        folder / "stack", Ports.free(), model=model.folder, stable_s=1, quiet_s=0.5
    ) as stack:
        for file in files:
            kept = json.loads(fetch(f"{stack.viewer}/orthanc/instances", file.read_bytes()))
        state = wait_until_done(stack, kept["ParentStudy"])
        yield Segmented(stack, kept["ParentStudy"], state, files[0], expected)


def require_browser() -> None:
    """Skip, with the reason, where something of the stack or the browser is missing."""
    missing = missing_packages() + ([] if CHROMIUM else ["chromium"])
    if missing:
        pytest.skip(f"needs Debian's {', '.join(missing)}")
    if find_spec("playwright") is None:
        pytest.skip("needs the Python package playwright")
    try:
        find_ohif()
    except Missing as error:
        pytest.skip(str(error))


def wait_until_done(stack: Stack, study: str, seconds: float = 180) -> dict[str, Any]:
    """Return what the plugin says of the study's only series once it is done."""
    deadline = time.monotonic() + seconds
    while True:
        said = json.loads(fetch(f"{stack.viewer}/orthanc/hepar/studies/{study}"))
        if [each["state"] for each in said["series"]] == ["done"]:
            return dict(said["series"][0])
        assert time.monotonic() < deadline, said
        time.sleep(0.2)


@pytest.fixture(scope="module")
def page(segmented: Segmented, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A browser that has opened nothing yet."""
    with browser_page(tmp_path_factory.mktemp("profile")) as page:
        yield page


def test_the_link_opens_the_study_with_the_segments_that_the_node_drew(
    segmented: Segmented, page: Any
):
    open_result(page, segmented.state["viewer"])
    labels = segmented.expected.labels
    assert page.evaluate(DECODED) == [
        [
            {
                "label": name,
                "rgb": pytest.approx(rgb, abs=2),  # CIELab in 16 bits and back
                "voxels": np.count_nonzero(labels == label),
                "number": label,
            }
            for name, rgb, label in (
                ("Liver", (221, 130, 101), Label.LIVER),
                ("Tumour", (255, 214, 10), Label.TUMOUR),
            )
        ]
    ]


def test_scrolling_moves_the_image_with_the_overlay(segmented: Segmented, page: Any):
    """Also where OHIF has lost the image out of its scene, as it often does (`app-config.js`)."""
    open_result(page, segmented.state["viewer"])
    page.get_by_text("Confirm and hide").click()
    first = page.evaluate(IMAGE)
    page.evaluate(LOSE)
    page.evaluate(SHOW, int(Label.TUMOUR))
    page.locator("[data-cy='panelSegmentation-btn']").click()
    page.wait_for_function(f"({IMAGE})().instance !== '{first['instance']}'")
    page.wait_for_timeout(1500)
    assert page.evaluate(IMAGE)["drawn"]
    ARTEFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTEFACTS / "ohif.png")  # the README shows it


def test_the_report_beside_the_seg_has_the_numbers_of_the_label_map(segmented: Segmented):
    report = dcmread(io.BytesIO(the_object(segmented, "SR")))
    liver, *lesions, whole = read_groups(report)
    expected, seg = segmented.expected, dcmread(io.BytesIO(the_object(segmented, "SEG")))
    assert liver.numbers[VOLUME,] == pytest.approx(expected.millilitres(Label.LIVER), abs=1e-3)
    in_lesions = sum(each.numbers[VOLUME,] for each in lesions)
    assert in_lesions == pytest.approx(expected.millilitres(Label.TUMOUR), abs=1e-2)
    assert whole.numbers[LESIONS,] == len(lesions) > 0
    assert {each.segment for each in lesions} == {(seg.SOPInstanceUID, Label.TUMOUR)}


def test_the_seg_lies_in_the_frame_of_reference_of_its_source(segmented: Segmented):
    source, seg = dcmread(segmented.source), dcmread(io.BytesIO(the_object(segmented, "SEG")))
    assert seg.FrameOfReferenceUID == source.FrameOfReferenceUID
    assert seg.SeriesInstanceUID in segmented.state["viewer"]


def the_object(segmented: Segmented, modality: str) -> bytes:
    """The only object of a modality in the study, as the archive has it."""
    series = segmented.get(f"studies/{segmented.study}/series")
    (found,) = [each for each in series if each["MainDicomTags"]["Modality"] == modality]
    (instance,) = found["Instances"]
    return fetch(f"{segmented.stack.viewer}/orthanc/instances/{instance}/file")


def test_a_list_of_fields_that_the_viewer_encodes_is_understood(segmented: Segmented):
    study = dcmread(segmented.source, stop_before_pixels=True).StudyInstanceUID
    fields = "%2C".join(["00080080", "0008103E", "00181030", "00080070", "00081090", "00180015"])
    url = f"{segmented.stack.viewer}/dicom-web/studies/{study}/series?includefield={fields}"
    (ct,) = [each for each in json.loads(fetch(url)) if each["00080060"]["Value"] == ["CT"]]
    assert ct["00080070"]["Value"] == ["Hepar"]
    assert ct["00180015"]["Value"] == ["ABDOMEN"]


def test_orthanc_s_page_has_a_button_and_tells_the_state_with_the_link(
    segmented: Segmented, page: Any
):
    at = f"{segmented.stack.viewer}/orthanc/app/explorer.html#study?uuid={segmented.study}"
    page.goto(at, wait_until="commit")
    state = page.locator("#study .hepar-state")
    state.get_by_text("done").wait_for()
    assert state.get_by_text("view").get_attribute("href") == segmented.state["viewer"]
    with page.expect_response("**/hepar/studies/*/segment") as answer:
        page.locator("#study .hepar-segment").click()
    assert "sent to the node" in answer.value.json().values()
    ARTEFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTEFACTS / "orthanc.png")


def test_asked_again_and_with_its_own_seg_about_the_node_makes_nothing_new(segmented: Segmented):
    while segmented.get("hepar")["waiting"]:
        time.sleep(0.2)
    time.sleep(3)  # longer than the archive's stable age and the node's quiet time
    study = dcmread(segmented.source, stop_before_pixels=True).StudyInstanceUID
    node = f"http://127.0.0.1:{segmented.stack.ports.node_http}"
    assert len(json.loads(fetch(f"{node}/jobs?study={study}"))) == 1
    assert the_object(segmented, "SEG")
