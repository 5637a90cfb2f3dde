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
