from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from dicom_node.commands.job_views.job_details import details
from dicom_node.pipeline.outcome import Outcome, Verdict
from tests.dicom_node.commands.job_views.test_job_list import JOB

FOUND = Outcome(Verdict.SEGMENTED, seg=Path("seg.dcm"), millilitres={"liver": 1200.0})


@pytest.mark.parametrize(
    ("agreement", "shown"),
    [({"liver": 0.934}, "1200.0 ml, members agree 0.93"), ({}, "1200.0 ml")],
)
def test_the_members_agreement_is_shown_where_there_are_members(agreement, shown):
    job = replace(JOB, outcome=replace(FOUND, agreement=agreement))
    console = Console(width=80, record=True)
    console.print(details(job, ledger=None))
    (line,) = [each for each in console.export_text().splitlines() if " ml" in each]
    assert line.split(maxsplit=1)[1].strip() == shown


def test_what_another_caller_sent_and_was_refused_is_shown():
    note = "2026-11-28 10:00 UTC: ROGUE sent instance 1.2 of CT1 with other content; refused"
    console = Console(width=200, record=True)
    console.print(details(replace(JOB, refused_copies=(note,)), ledger=None))
    assert note in console.export_text()
