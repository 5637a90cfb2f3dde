"""Probabilities and intervals on the page of a job."""

from dataclasses import replace

import pytest

from dicom_node.pipeline.outcome import Outcome, Verdict
from dicom_node.web.operator_pages import TEMPLATES
from engine.findings.certainty import Probability, VolumeInterval
from engine.findings.summary import LesionSummary, Summary

LESION = LesionSummary(1, "right, anterior, upper", 4.0, 21.0, 15.0, 60.0, 7, -12.0)
PLAIN = Summary(20, 64, 64, (10.0, 6.0, 6.0), 1500.0, 6.0, 0.4, (LESION, replace(LESION, number=2)))


def page_of(summary):
    figures = TEMPLATES.env.get_template("_figures.html").module.figures
    return " ".join(figures(Outcome(Verdict.SEGMENTED, summary=summary)).split())


@pytest.fixture
def stated():
    certain = replace(LESION, probability=Probability(0.824, 0.6, 0.93))
    return replace(
        PLAIN,
        lesions=(certain, replace(LESION, number=2)),
        liver_interval=VolumeInterval(1372.5, 1627.5),
        certainty_notes=("It rests", "on 6 patients."),
    )


def test_the_page_has_intervals_and_probabilities_and_what_they_rest_on(stated):
    page = page_of(stated)
    assert "<dd>1500.0 ml (1372.5 to 1627.5)</dd>" in page
    assert "<dd>6.0 ml, 0.4 % of the liver</dd>" in page
    assert "<td>82 % (60 to 93)</td>" in page
    assert "<td>not stated</td>" in page
    assert "It rests on 6 patients." in page


def test_a_reviewed_result_has_the_reason_and_no_empty_column(stated):
    page = page_of(replace(PLAIN, certainty_notes=("Not stated: review.",)))
    assert "Not stated: review." in page
    assert "probability" not in page


def test_the_page_of_a_model_without_calibration_has_nothing_new():
    page = page_of(PLAIN)
    assert "<dd>1500.0 ml</dd>" in page
    assert "robability" not in page
    assert page.count('class="quiet"') == 1  # on positions and slices


def test_a_result_keeps_what_it_states(stated):
    outcome = Outcome(Verdict.SEGMENTED, summary=stated)
    assert Outcome.from_json(outcome.to_json()) == outcome
