"""`make stack` as a radiologist has it: a study in Orthanc, its liver in OHIF, a real browser."""

import base64
import io
import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset, dcmread

from deploy.stack.links import SEEN
from deploy.stack.places import Ports
from deploy.stack.settings import CORRECT, VIEWER
from deploy.stack.stack import Stack, running_stack
from dicom_node.results.attributes.segment_description import LESION_COLOURS
from dicom_node.results.make import SeriesResult, encode_verified, make_seg
from dicom_node.results.objects import Encoding, SegForm
from dicom_node.results.phantom import write_series
from dicom_node.series.reading import read_series
from dicom_node.series.volume import to_volume
from dicom_node.verify.planes import facing, planes_of, slice_at
from dicom_node.verify.report_groups import LESIONS, LONG_AXIS, SHORT_AXIS, VOLUME, read_groups
from engine.findings.measure import measure, separate_lesions
from engine.findings.quality import Quality
from engine.model import load_model
from engine.phantom import make_phantom
from engine.segmentation.segment import segment
from engine.serving.cpu import open_device
from engine.volume import Label, LabelMap
from tests.dicom_node.drawing import ALGORITHM
from tests.engine.toy_model import write_toy_model
from tests.system.browser import (
    DECODED,
    FETCHED,
    IMAGE,
    IN_THE_WAY,
    LISTED,
    LOSE,
    MEASURED,
    SHOW,
    browser_page,
    decoded_voxels,
    open_result,
)
from tests.system.correcting import (
    counts,
    open_for_correction,
    save,
    stacked,
    stroke,
    without_empty,
)
from tests.system.judges import dciodvfy
from tests.system.segmented import (
    Segmented,
    delete,
    fetch,
    paint,
    require_browser,
    upload,
    wait_until_done,
)
from tests.system.servers import run_hepar
from tests.waiting import wait_until
from trainer.datasets.cases.target import Target
from trainer.datasets.layouts.read_all import read_slices
from trainer.evaluation.run.ground_truth import read_reference

ARTEFACTS = Path(__file__).resolve().parents[2] / "artefacts"


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
            kept = upload(stack, file.read_bytes())
        state = wait_until_done(stack, kept["ParentStudy"])
        yield Segmented(stack, kept["ParentStudy"], state, files, expected)


@pytest.fixture(scope="module")
def page(segmented: Segmented, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A browser that has opened nothing yet."""
    with browser_page(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture(scope="module")
def result(segmented: Segmented, page: Any) -> Any:
    """The browser after it has opened the link to the result."""
    open_result(page, segmented.state["viewer"])
    return page


def test_the_link_opens_the_study_with_the_segments_that_the_node_drew(
    segmented: Segmented, result: Any
):
    labels = separate_lesions(segmented.expected).labels
    lesions = range(1, int(labels.max()))
    assert len(lesions) > 1
    named = [("Liver", (221, 130, 101))]
    named += [(f"Lesion {number}", LESION_COLOURS[number - 1]) for number in lesions]
    assert result.evaluate(DECODED) == [
        [
            {
                "label": name,
                "rgb": pytest.approx(rgb, abs=2),  # CIELab in 16 bits and back
                "voxels": np.count_nonzero(labels == number),
                "number": number,
            }
            for number, (name, rgb) in enumerate(named, start=1)
        ]
    ]


def test_every_voxel_that_the_viewer_decoded_is_the_label_map_s(segmented: Segmented, result: Any):
    assert differences(result, segmented, separate_lesions(segmented.expected)) == 0


def test_the_link_opens_on_the_largest_lesion_with_the_list_and_nothing_over_the_images(
    segmented: Segmented, result: Any
):
    lesions = separate_lesions(segmented.expected)
    result.wait_for_function(f"({IMAGE})().drawn")
    assert result.evaluate(IMAGE)["instance"] in fullest(segmented, lesions.labels == 2)
    names = ["Liver", *(f"Lesion {number}" for number in range(1, int(lesions.labels.max())))]
    sizes = np.bincount(lesions.labels.ravel())[1:] * lesions.geometry.voxel_ml
    listed = [[name, in_ml(size)] for name, size in zip(names, sizes, strict=True)]
    wait_until(lambda: result.evaluate(LISTED) == listed, what="the panel lists the volumes")
    assert result.evaluate(IN_THE_WAY) == []
    ARTEFACTS.mkdir(exist_ok=True)
    result.screenshot(path=ARTEFACTS / "first_sight.png")


def in_ml(size: float) -> str:
    """A volume as the panel states it."""
    return f"{size:.{1 if size < 10 else 0}f} ml"


def fullest(segmented: Segmented, mask: NDArray[np.bool_]) -> set[str]:
    """UIDs of the source's instances that have most of a mask on the grid of the label map."""
    geometry = segmented.expected.geometry if segmented.expected else None
    assert geometry is not None
    drawn = LabelMap(mask.astype(np.uint8), geometry)
    planes = planes_of(read_series(segmented.files))
    shown = facing(drawn, planes[0])
    counts = {
        plane.instance_uid: np.count_nonzero(shown.labels[slice_at(shown, plane)])
        for plane in planes
    }
    return {uid for uid, count in counts.items() if count == max(counts.values())}


def test_each_link_to_a_result_is_the_same(segmented: Segmented):
    study = dcmread(segmented.files[0], stop_before_pixels=True).StudyInstanceUID
    node = f"http://127.0.0.1:{segmented.stack.ports.node_http}"
    (job,) = json.loads(fetch(f"{node}/jobs?study={study}"))
    logged = SEEN.findall(segmented.stack.log.read_text("utf-8"))
    assert [job["viewer"]] == logged == [segmented.state["viewer"]]


def differences(page: Any, segmented: Segmented, expected: LabelMap) -> int:
    """Count the voxels that the viewer has otherwise than the label map, slice by slice."""
    decoded = decoded_voxels(page)
    planes = planes_of(read_series(segmented.files))
    shown = facing(expected, planes[0])
    assert {plane.instance_uid for plane in planes} == set(decoded)
    return sum(
        np.count_nonzero(
            decoded[plane.instance_uid] != shown.labels[slice_at(shown, plane)].ravel()
        )
        for plane in planes
    )


def test_scrolling_moves_the_image_with_the_overlay(segmented: Segmented, result: Any):
    """Also where OHIF has lost the image out of its scene, as it often does (`app-config.js`)."""
    first = result.evaluate(IMAGE)
    result.evaluate(LOSE)
    result.evaluate(SHOW, int(separate_lesions(segmented.expected).labels.max()))
    result.wait_for_function(f"({IMAGE})().instance !== '{first['instance']}'")
    result.wait_for_timeout(1500)
    assert result.evaluate(IMAGE)["drawn"]
    ARTEFACTS.mkdir(exist_ok=True)
    picture = result.screenshot(path=ARTEFACTS / "ohif.png")  # the README shows it
    assert coloured(picture) > 0.1


def lines_drawn(picture: bytes) -> float:
    """The part of the viewport that lines and their text colour, which are green or yellow."""
    _, green, blue = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"), int).transpose(
        2, 0, 1
    )
    return float(np.mean((green - blue)[100:700, 300:980] > 100))


def paper(picture: bytes) -> float:
    """The part of the viewport that is white."""
    grey = np.asarray(Image.open(io.BytesIO(picture)).convert("L"), int)
    return float(np.mean(grey[100:700, 300:980] > 240))


def coloured(picture: bytes) -> float:
    """The part of the viewport that the overlay colours; a CT is grey."""
    red, _, blue = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"), int).transpose(
        2, 0, 1
    )
    return float(np.mean((red - blue)[100:700, 300:980] > 20))


@pytest.fixture(scope="module")
def correcting(segmented: Segmented, page: Any) -> Any:
    """The browser after it has opened the link for correction."""
    seg = dcmread(io.BytesIO(segmented.only("SEG")))
    uids = {"study": seg.StudyInstanceUID, "series": seg.SeriesInstanceUID}
    open_for_correction(page, segmented.stack.viewer + CORRECT.format(**uids))
    return page


def test_the_link_for_correction_opens_the_same_contours_with_a_brush(
    segmented: Segmented, correcting: Any
):
    lesions = separate_lesions(segmented.expected)
    assert correcting.evaluate(IMAGE)["instance"] in fullest(segmented, lesions.labels == 2)
    assert correcting.locator("[data-cy='Brush-btn']").is_enabled()
    ARTEFACTS.mkdir(exist_ok=True)
    correcting.screenshot(path=ARTEFACTS / "correction.png")


def test_the_next_training_learns_exactly_what_a_person_painted_and_saved(
    segmented: Segmented, correcting: Any, tmp_path: Path
):
    before = counts(decoded_voxels(correcting))
    correcting.locator("[data-cy='Brush-btn']").click()
    stroke(correcting, 1, (820, 450), (8, 2))  # liver, beside what was found
    stroke(correcting, 2, (560, 460), (2, 8))  # the first lesion, where liver was found
    painted, series = save(correcting)
    grown = counts(painted) - before
    assert grown[2] > 0 > grown[0]
    with segmented.with_series(series):
        assert without_empty(decoded_voxels(correcting)) == without_empty(painted)
        wait_until(
            lambda: any(each["dice"] for each in segmented.job()["corrections"]),
            what="the node has compared the correction",
        )
        correcting.screenshot(path=ARTEFACTS / "corrected.png")
        run_hepar("dataset", "pull", "--corrections", segmented.dicomweb, "-o", tmp_path)
    shown = stacked(painted, segmented.files)
    expected = np.select([shown == 1, shown > 1], [Target.LIVER, Target.TUMOUR], 0)
    learnt = read_slices(tmp_path)  # as `train --start` reads them
    assert np.array_equal(learnt.target, expected)
    seg = next(tmp_path.glob(f"*/{series}/*.dcm"))
    truth = read_reference(next(tmp_path.glob(f"*/{segmented.state['series']}")), seg)
    assert np.array_equal(truth.target, expected)
    found = segmented.expected
    (counted,) = segmented.job()["corrections"]
    assert counted["dice"] == {
        "liver": pytest.approx(dice(found.labels > 0, expected > 0)),
        "tumour": pytest.approx(dice(found.labels == 2, expected == 2)),
    }
    check_agreement(segmented, correcting)


def dice(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float(2 * np.count_nonzero(one & other) / (one.sum() + other.sum()))


def check_agreement(segmented: Segmented, page: Any) -> None:
    """Look at what the node's pages show of the only correction."""
    node = f"http://127.0.0.1:{segmented.stack.ports.node_http}"
    page.goto(f"{node}/jobs/{segmented.job()['job']}")
    assert page.locator("#corrections-title").is_visible()
    page.goto(node)
    row = page.locator("section[aria-labelledby='agreement-title'] tbody tr")
    assert row.locator("td").first.text_content() == "Hepar Phantom"
    page.screenshot(path=ARTEFACTS / "agreement.png", full_page=True)


@pytest.mark.parametrize("lesions", [True, False], ids=["lesions", "no lesion"])
def test_a_plain_seg_opens_on_its_largest_lesion_or_else_on_the_largest_liver_area(
    segmented: Segmented, page: Any, lesions: bool
):
    """More of the tumours lie on a slice of many small ones, and more of the liver elsewhere."""
    sources = read_series(segmented.files)
    volume = to_volume(sources)
    labels = np.zeros(volume.hu.shape, np.uint8)
    labels[2:25, 60:200, 60:120] = Label.LIVER
    labels[20, 60:200, 60:200] = Label.LIVER
    wanted = labels == Label.LIVER
    if lesions:
        labels[6:11, 70:80, 70:80] = Label.TUMOUR
        labels[8, 70:80, 70:81] = Label.TUMOUR
        wanted = labels == Label.TUMOUR
        labels[15, 70:190:10, 70:78] = labels[15, 71:190:10, 70:78] = Label.TUMOUR
    drawn = LabelMap(labels, volume.geometry)
    findings = SeriesResult(sources, ALGORITHM, drawn, measure(volume, drawn), Quality())
    seg = make_seg(findings, SegForm())
    with segmented.with_object(encode_verified(seg, findings, SegForm())):
        open_result(page, viewer_address(segmented.stack, seg))
        (opened,) = fullest(segmented, wanted)
        page.wait_for_function(f"({IMAGE})().instance === '{opened}'")


@pytest.mark.parametrize(
    "form", [SegForm(Encoding.LABELMAP), SegForm(Encoding.LABELMAP, True)], ids=str
)
def test_the_viewer_decodes_a_labelmap_as_well(segmented: Segmented, page: Any, form: SegForm):
    """Colours beside voxels: highdicom's background segment would shift them by one."""
    sources = read_series(segmented.files)
    volume = to_volume(sources)
    drawn = segmented.expected
    findings = SeriesResult(sources, ALGORITHM, drawn, measure(volume, drawn), Quality())
    seg = make_seg(findings, form)
    with segmented.with_object(encode_verified(seg, findings, form)):
        open_result(page, viewer_address(segmented.stack, seg))
        shown = separate_lesions(drawn) if form.per_lesion else drawn
        assert differences(page, segmented, shown) == 0
        (segments,) = page.evaluate(DECODED)
    assert [each["label"] for each in segments] == [s.SegmentLabel for s in seg.SegmentSequence]
    assert segments[0]["rgb"] == pytest.approx((221, 130, 101), abs=2)


def viewer_address(stack: Stack, seg: Dataset) -> str:
    """The link to a SEG, as the node would print it."""
    uids = {"study": seg.StudyInstanceUID, "series": seg.SeriesInstanceUID}
    return stack.viewer + VIEWER.format(**uids)


def test_the_report_beside_the_seg_has_the_numbers_of_the_label_map(segmented: Segmented):
    report = dcmread(io.BytesIO(segmented.only("SR")))
    liver, *lesions, whole = read_groups(report)
    expected, seg = segmented.expected, dcmread(io.BytesIO(segmented.only("SEG")))
    assert liver.numbers[VOLUME,] == pytest.approx(expected.millilitres(Label.LIVER), abs=1e-3)
    in_lesions = sum(each.numbers[VOLUME,] for each in lesions)
    assert in_lesions == pytest.approx(expected.millilitres(Label.TUMOUR), abs=1e-2)
    assert whole.numbers[LESIONS,] == len(lesions) > 0
    segments = [(seg.SOPInstanceUID, number) for number in range(2, len(lesions) + 2)]
    assert [each.segment for each in lesions] == segments


def test_the_report_opens_with_each_lesion_listed_and_its_diameters_drawn(
    segmented: Segmented, page: Any
):
    """A click on a lesion jumps to its slice, where both diameters have the measured ends."""
    report = dcmread(io.BytesIO(segmented.only("SR")))
    _, *lesions, _ = read_groups(report)
    page.goto(viewer_address(segmented.stack, report), wait_until="commit")
    page.wait_for_function(f"({MEASURED})().length === {len(lesions)}")
    measured = page.evaluate(MEASURED)
    assert [each["label"] for each in measured] == [f"Lesion {n + 1}" for n in range(len(lesions))]
    for shown, lesion in zip(measured, lesions, strict=True):
        long_axis, short_axis = lesion.lines[LONG_AXIS], lesion.lines[SHORT_AXIS]
        assert shown["instance"] == long_axis.image[0] == short_axis.image[0]
        lengths = [
            np.linalg.norm(np.subtract(*ends)) for ends in np.reshape(shown["points"], (2, 2, 3))
        ]
        expected = [lesion.numbers[LONG_AXIS,], lesion.numbers[SHORT_AXIS,]]
        assert lengths == pytest.approx(expected, abs=0.01)
    page.locator("[data-cy='trackedMeasurements-btn']").click()
    ARTEFACTS.mkdir(exist_ok=True)
    for number in (len(lesions), 1):  # the last first, so that each click has to move
        page.locator("[data-cy='data-row']").nth(number - 1).click()
        wanted = measured[number - 1]["instance"]
        page.wait_for_function(f"({IMAGE})().instance === '{wanted}'")
        page.wait_for_timeout(1500)  # until it is painted
        picture = page.screenshot(path=ARTEFACTS / f"report_lesion_{number}.png")
        assert lines_drawn(picture) > 0.0005  # two thin lines and their text


def test_the_page_opens_as_pdf_in_the_viewer(segmented: Segmented, page: Any):
    document = dcmread(io.BytesIO(segmented.only("DOC")))
    page.goto(viewer_address(segmented.stack, document), wait_until="commit")
    shown = page.locator("object[type='application/pdf'], embed[type='application/pdf'], iframe")
    shown.first.wait_for(state="attached")
    address = shown.first.evaluate("each => each.data || each.src")
    assert address
    fetched = page.evaluate(FETCHED, address)
    assert base64.b64decode(fetched).startswith(b"%PDF-")
    ARTEFACTS.mkdir(exist_ok=True)
    shot = partial(page.screenshot, path=ARTEFACTS / "page_pdf.png")
    wait_until(lambda: paper(shot()) > 0.1, what="the PDF is painted")


@pytest.mark.parametrize("modality", ["SEG", "SR", "DOC"])
def test_the_validator_finds_no_error_in_what_the_archive_has(
    segmented: Segmented, modality: str, tmp_path: Path
):
    (tmp_path / "object.dcm").write_bytes(segmented.only(modality))
    status, words = dciodvfy(tmp_path / "object.dcm")
    assert status == 0, words


def test_the_seg_lies_in_the_frame_of_reference_of_its_source(segmented: Segmented):
    source, seg = dcmread(segmented.files[0]), dcmread(io.BytesIO(segmented.only("SEG")))
    assert seg.FrameOfReferenceUID == source.FrameOfReferenceUID
    assert seg.SeriesInstanceUID in segmented.state["viewer"]


def test_a_list_of_fields_that_the_viewer_encodes_is_understood(segmented: Segmented):
    study = dcmread(segmented.files[0], stop_before_pixels=True).StudyInstanceUID
    fields = "%2C".join(["00080080", "0008103E", "00181030", "00080070", "00081090", "00180015"])
    url = f"{segmented.stack.viewer}/dicom-web/studies/{study}/series?includefield={fields}"
    (ct,) = [each for each in json.loads(fetch(url)) if each["00080060"]["Value"] == ["CT"]]
    assert ct["00080070"]["Value"] == ["Hepar"]
    assert ct["00180015"]["Value"] == ["ABDOMEN"]


def test_a_result_that_a_person_deleted_comes_back_by_the_button(segmented: Segmented):
    """Before the button is pressed elsewhere: nothing else is on its way to the archive."""
    before = {each: dcmread(io.BytesIO(segmented.only(each))) for each in ("SEG", "SR", "DOC")}
    for series in segmented.get(f"studies/{segmented.study}/series"):
        if series["MainDicomTags"]["Modality"] != "CT":
            delete(f"{segmented.stack.viewer}/orthanc/series/{series['ID']}")
    assert segmented.modalities() == {"CT"}
    said = segmented.get(f"hepar/studies/{segmented.study}")["series"]
    assert [each["state"] for each in said] != ["done"]
    fetch(f"{segmented.stack.viewer}/orthanc/hepar/studies/{segmented.study}/segment", b"")
    wait_until(lambda: segmented.modalities() == {"CT", *before}, 300)
    for modality, made in before.items():
        again = dcmread(io.BytesIO(segmented.only(modality)))
        assert again.SOPInstanceUID == made.SOPInstanceUID
        assert again == made
    wait_until_done(segmented.stack, segmented.study)


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
    wait_until(lambda: not segmented.get("hepar")["waiting"])
    time.sleep(3)  # longer than the archive's stable age and the node's quiet time
    study = dcmread(segmented.files[0], stop_before_pixels=True).StudyInstanceUID
    node = f"http://127.0.0.1:{segmented.stack.ports.node_http}"
    assert len(json.loads(fetch(f"{node}/jobs?study={study}"))) == 1
    assert segmented.only("SEG")
