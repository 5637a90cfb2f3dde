import base64
import re
from io import BytesIO
from types import MappingProxyType

import numpy as np
import pytest
from PIL import Image, ImageColor

from tests.system.browser import CHROMIUM, FLAGS, PATIENCE_MS
from tests.trainer.evaluation.metrics.test_scores import box, piece
from tests.waiting import wait_until
from trainer.evaluation.metrics.exam import Exam
from trainer.evaluation.report.film_strips import strip
from trainer.evaluation.report.html_page import to_html
from trainer.evaluation.report.plots import LIVER_COLOURS, TUMOUR_COLOURS
from trainer.evaluation.run.evaluate import evaluate
from trainer.evaluation.run.films import SIDE
from trainer.evaluation.run.patients import PatientCase


def marked(patient: str, grown: int, *, tumour: bool) -> Exam:
    """A liver, found `grown` voxels too large, and perhaps a tumour that is found half."""
    target = box((3, 8), (4, 15), (4, 15))
    for slice_ in range(3, 8):  # no two slices look alike
        target[slice_, 4, 4 : 2 * slice_] = 0
    found = box((3, 8), (4, 15 + grown), (4, 15))
    if tumour:
        target[4:7, 6:10, 6:10] = 2
        found[4:7, 6:10, 8:10] = 2
    return Exam(patient, (piece(target, found),))


@pytest.fixture(scope="module")
def evaluation():
    subjects = [PatientCase(f"<p{grown}>", None) for grown in range(4)]

    def method(name, more):
        return lambda subject: {
            name: marked(subject.patient, int(subject.patient[2]) + more, tumour=more == 0)
        }

    methods = [method("half", 1), method("whole", 0)]
    about = {"Compared with": "phantoms"}
    learnt = MappingProxyType({"half": 40, "whole": 80})
    return evaluate(subjects, methods, about=about, learnt_from=learnt)


@pytest.fixture(scope="module")
def page(evaluation) -> str:
    return to_html(evaluation)


def test_the_page_needs_nothing_beside_itself(page):
    assert not re.findall(r"<(?:script|link)", page)
    sources = re.findall(r'src="([^"]{22})', page)
    assert sources
    assert set(sources) == {"data:image/png;base64,"}
    assert "http" not in page


def test_every_patient_stands_on_the_page_and_nothing_is_taken_for_html(page):
    for patient in range(4):
        assert f"&lt;p{patient}&gt;" in page
    assert "<p0>" not in page


def test_best_median_and_worst_are_drawn(page):
    for caption in ("Best: &lt;p0&gt;", "Median: &lt;p2&gt;", "Worst: &lt;p3&gt;"):
        assert caption in page


def test_models_that_say_what_they_learnt_from_make_a_learning_curve(evaluation, page):
    assert "Learning curve" in page
    assert evaluation.methods[1].summary.pooled_dice["liver"].value > 0.9
    assert np.isclose(evaluation.methods[1].summary.pooled_dice["tumour"].value, 2 / 3)


def test_every_patient_has_a_slider_over_the_slices_the_worst_first(page):
    whole = page[page.index("Slice by slice: whole") :]
    figures = re.findall(r'<figure class="film".*?</figure>', whole, re.DOTALL)
    assert len(figures) == 4
    names = [re.search(r"<figcaption>&lt;(p\d)&gt;, liver Dice", each)[1] for each in figures]
    assert names == ["p3", "p2", "p1", "p0"]
    for each in figures:
        (source,) = re.findall(r'src="data:image/png;base64,([^"]+)"', each)
        with Image.open(BytesIO(base64.b64decode(source))) as strip:
            frames = strip.height // SIDE
            assert strip.size == (SIDE, SIDE * frames)
        assert frames == 5  # what is drawn goes over 5 slices
        assert f'max="{frames - 1}"' in each
        assert f"this.value * {SIDE}" in each


def test_a_frame_shows_the_lines_of_what_was_drawn_and_marked(evaluation):
    source = strip(evaluation.methods[1].films["<p3>"]).split(",")[1]
    with Image.open(BytesIO(base64.b64decode(source))) as picture:
        colours = {each[1] for each in picture.convert("RGB").getcolors(1 << 20)}
    for line in (*LIVER_COLOURS.values(), *TUMOUR_COLOURS.values()):
        wanted = np.array(ImageColor.getrgb(line))
        assert min(np.abs(np.array(each) - wanted).max() for each in colours) < 12, line


@pytest.fixture
def opened(page, tmp_path):
    """The page in a real browser."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    from playwright.sync_api import sync_playwright

    (tmp_path / "page.html").write_text(page)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        opened = browser.new_page(device_scale_factor=1)
        opened.set_default_timeout(PATIENCE_MS)
        opened.goto((tmp_path / "page.html").as_uri())
        yield opened
        browser.close()


def test_a_person_moves_the_slider_and_scrolls_in_the_picture(opened, evaluation):
    film = opened.locator("figure.film", has_text="<p3>").nth(1)  # of the second model
    slider, picture = film.locator("input"), film.locator("div")
    source = strip(evaluation.methods[1].films["<p3>"]).split(",")[1]
    with Image.open(BytesIO(base64.b64decode(source))) as picture_of_all:
        frames = np.asarray(picture_of_all.convert("RGB"), int).reshape(-1, SIDE, SIDE, 3)

    def shown():
        """Number of the frame that the picture is nearest to."""
        with Image.open(BytesIO(picture.screenshot())) as shot:
            seen = np.asarray(shot.convert("RGB"), int)
        # Without the edge, which has a scroll bar, and may be rounded by a pixel.
        inside = np.s_[8 : SIDE - 24, 8 : SIDE - 24]
        return int(np.argmin([np.abs(seen[inside] - each[inside]).mean() for each in frames]))

    assert shown() == 0
    slider.focus()
    for _ in range(2):
        opened.keyboard.press("ArrowRight")
    assert slider.input_value() == "2"
    assert shown() == 2
    picture.hover()
    opened.mouse.wheel(0, 2 * SIDE)
    wait_until(lambda: slider.input_value() == "4")
    assert shown() == 4
    opened.mouse.wheel(0, -4 * SIDE)
    wait_until(lambda: slider.input_value() == "0")
    assert shown() == 0
