"""Each ending is counted once, whatever is retried."""

import re
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from dicom_node.corrections.agreement import RECENT
from dicom_node.corrections.register import CorrectionRegister
from dicom_node.jobs.state import Delivery, Job, State
from dicom_node.pipeline.outcome import Outcome, Verdict
from dicom_node.receive.spool import Tally
from dicom_node.results.attributes.segment_description import Algorithm
from dicom_node.web.metrics import Metrics
from tests.dicom_node.corrections.drawn import correction

LATER = datetime.now(UTC) + timedelta(hours=1)
OUTCOME = Outcome(Verdict.SEGMENTED, seg=Path("a.dcm"), slices=20, seconds={"compute": 2.0})


def delivery(peer, state, ended=LATER):
    return Delivery(
        f"a {peer}", peer, f"deliver to {peer}", "seg", state, "", 1, 0.1, "", finished=ended
    )


def job(state, *deliveries, ended=LATER):
    return Job(
        id="a",
        study_uid="1.2",
        series_uid="1.2.3",
        paths=(),
        queue="segment on x",
        urgent=False,
        created=datetime.now(UTC),
        finished=ended,
        state=state,
        reason="",
        outcome=OUTCOME,
        deliveries=deliveries,
    )


@pytest.fixture
def scrape(tmp_path):
    """Scrape a node that has these jobs; returns the values of the counters that are not 0."""
    jobs = []
    node = SimpleNamespace(
        arriving=list,
        settings=SimpleNamespace(destinations={"archive": None, "viewer": None}),
        spool=SimpleNamespace(tally=Tally()),
        data=SimpleNamespace(folder=tmp_path),
        algorithm=Algorithm("toy", "0.1", "ab", "cpu"),
        backlog_model="fast 2",
        plans=list,
        corrections=CorrectionRegister(tmp_path / "corrections.sqlite"),
    )
    metrics = Metrics(
        node, SimpleNamespace(jobs=lambda last: list(jobs)), SimpleNamespace(ready=list)
    )

    def run(*now):
        jobs[:] = now
        text = metrics.exposition().decode()
        found = re.findall(
            r"^hepar_(?:(\w+)_total|stage_seconds_(count))(\{.*\})? (\S+)$", text, re.MULTILINE
        )
        counted = {(name or stage) + labels: float(value) for name, stage, labels, value in found}
        return {
            name: value
            for name, value in counted.items()
            if value and name.startswith(("series", "slices", "deliveries", "count"))
        }

    run.metrics = metrics
    return run


def test_a_delivery_that_is_retried_counts_neither_the_series_nor_its_computing_again(scrape):
    archive = delivery("archive", State.FAILED)
    viewer = delivery("viewer", State.DONE)
    first = scrape(job(State.FAILED, archive, viewer))
    assert first == {
        'series{state="failed"}': 1,
        "slices": 20,
        'count{stage="compute"}': 1,
        'deliveries{peer="archive",state="failed"}': 1,
        'deliveries{peer="viewer",state="done"}': 1,
    }
    again = delivery("archive", State.DELIVERING, None)
    assert scrape(job(State.DELIVERING, again, viewer, ended=None)) == first
    later = LATER + timedelta(minutes=5)
    done = job(State.DONE, delivery("archive", State.DONE, later), viewer, ended=later)
    expected = first | {'deliveries{peer="archive",state="done"}': 1}
    assert scrape(done) == expected
    assert scrape(done) == expected


def test_a_series_that_is_segmented_and_delivered_again_counts_once(scrape):
    first = scrape(job(State.DONE, delivery("archive", State.DONE)))
    later = LATER + timedelta(minutes=5)
    assert scrape(job(State.DONE, delivery("archive", State.DONE, later), ended=later)) == first


def test_series_are_counted_by_the_model_that_segmented_them(scrape):
    by_fast = replace(job(State.DONE), outcome=replace(OUTCOME, model="fast 2"))
    scrape(by_fast, replace(by_fast, id="b"), replace(job(State.DONE), id="c"))
    text = scrape.metrics.exposition().decode()
    assert 'hepar_segmented_total{model="fast 2"} 2.0' in text
    assert 'hepar_segmented_total{model="toy 0.1"} 0.0' in text


def test_a_delivery_that_fails_again_counts_again_as_an_alert_asks_for_it(scrape):
    scrape(job(State.FAILED, delivery("archive", State.FAILED)))
    later = LATER + timedelta(minutes=5)
    again = scrape(job(State.FAILED, delivery("archive", State.FAILED, later), ended=later))
    assert again['deliveries{peer="archive",state="failed"}'] == 2
    assert again['series{state="failed"}'] == 1


def test_what_ended_before_the_node_began_is_not_counted_when_it_is_retried(scrape):
    before = datetime.fromtimestamp(time.time() - 60, UTC)
    old = job(State.FAILED, delivery("archive", State.FAILED, before), ended=before)
    assert scrape(old) == {}
    done = replace(old, state=State.DONE, finished=LATER)
    done = replace(done, deliveries=(delivery("archive", State.DONE),))
    assert scrape(done) == {'deliveries{peer="archive",state="done"}': 1}


def test_results_that_agree_less_with_corrections_are_exposed(scrape, tmp_path):
    register = CorrectionRegister(tmp_path / "corrections.sqlite")
    for day, dice in enumerate([0.9] * RECENT + [0.6] * RECENT, start=1):
        arrived = datetime(2026, 11, day, tzinfo=UTC)
        register.keep(correction(arrived=arrived, dice={"tumour": dice}))
    text = scrape.metrics.exposition().decode()
    named = 'scanner="Maker Model 1 CT-2"'
    assert f"hepar_corrected_results{{{named}}} {2 * RECENT}.0" in text
    assert re.search(rf'hepar_corrected_dice{{{named},structure="tumour"}} 0\.(6|59999)', text)
    assert f'hepar_agreement_fell{{{named},structure="tumour"}} 1.0' in text
