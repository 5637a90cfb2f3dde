"""`hepar jobs show`: all that is stored of one job."""

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.markup import escape
from rich.table import Table

from dicom_node.commands.job_views.job_list import coloured, local
from dicom_node.corrections.correction import Correction
from dicom_node.deliver.confirmation import Confirmation
from dicom_node.jobs.ledger import Ledger
from dicom_node.jobs.state import Delivery, Job, State
from dicom_node.shadow.work_register import ShadowWork


def details(
    job: Job,
    ledger: Ledger,
    corrections: Sequence[Correction] = (),
    shadows: Sequence[ShadowWork] = (),
) -> Table:
    """Return a job as a table of two columns."""
    table = Table(box=None, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("job", job.id)
    table.add_row("state", coloured(job.state))
    if job.reason:
        table.add_row("reason", escape(job.reason))
    for note in job.refused_copies:
        table.add_row("refused", escape(note))
    table.add_row("series", job.series_uid)
    table.add_row("study", job.study_uid)
    table.add_row("slices", str(len(job.paths)))
    table.add_row("created", local(job.created).isoformat(" ", "seconds"))
    if job.outcome and job.outcome.seg:
        table.add_row("SEG", str(job.outcome.seg))
        if job.outcome.model:
            table.add_row("model", escape(job.outcome.model))
        for remark in job.outcome.notes:
            table.add_row("remark", escape(remark))
        for label, ml in job.outcome.millilitres.items():
            agreement = job.outcome.agreement.get(label)
            agree = "" if agreement is None else f", members agree {agreement:.2f}"
            table.add_row(label, f"{ml:.1f} ml{agree}")
        if job.review:
            table.add_row("review", f"[yellow]{'; '.join(job.review)}[/yellow]")
        for stage, seconds in job.outcome.seconds.items():
            table.add_row(stage, f"{seconds:.2f} s")
    for each in corrections:
        table.add_row("corrected", escape(f"{local(each.arrived):%Y-%m-%d %H:%M}, {each.text}"))
    for work in shadows:
        table.add_row("shadow", escape(work.text))
    for delivery in job.deliveries:
        state = coloured(delivery.state)
        table.add_row(f"to {delivery.to}", f"{state} {escape(progress(delivery, ledger))}")
    return table


def progress(delivery: Delivery, ledger: Ledger) -> str:
    """Return how a delivery was confirmed, or why it was not and when it will be tried again."""
    if delivery.state is State.DONE:
        if delivery.confirmed == Confirmation.WORD:
            return delivery.confirmed
        return f"confirmed by {delivery.confirmed}" if delivery.confirmed else ""
    words = [delivery.reason or ledger.last_refusal(delivery)]
    if due := ledger.next_attempt(delivery):
        left_s = max(0.0, (due - datetime.now(UTC)).total_seconds())
        words.append(f"next attempt at {local(due):%H:%M:%S}, in {left_s:.0f} s")
    return "; ".join(filter(None, words))
