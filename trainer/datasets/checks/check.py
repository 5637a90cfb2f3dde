"""`hepar dataset check`: what lies in a folder, as a table and as a contact sheet."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn
from rich.table import Table
from rich.text import Text

from trainer.datasets.cases.dataset_file import DATASET
from trainer.datasets.checks.contact_sheet import write_sheet
from trainer.datasets.checks.facts import Facts, facts_of
from trainer.datasets.checks.fingerprint import alike
from trainer.datasets.checks.parts import read_parts
from trainer.datasets.layouts.found import Found
from trainer.errors import BadData

COLUMNS = (
    *("Series", "Patient", "Slices", "Spacing mm", "HU"),
    *("Liver ml", "Tumour ml", "Doubts"),
)


@dataclass(frozen=True)
class Checked:
    """Contents of a folder."""

    facts: Sequence[Facts]
    broken: Sequence[tuple[Found, str]]
    """Cases that are left out, and why."""
    twins: Sequence[tuple[Facts, Facts, float]]
    """Series of two patients that show the same slices, and how alike they are."""
    copies: Sequence[tuple[Facts, Facts]]
    """Series that are the same in every pixel."""


@dataclass(frozen=True)
class Summary:
    """Counts of a check."""

    patients: int
    with_tumours: int
    """Patients with drawn tumours."""
    series: int
    doubtful: int
    """Series that a person should look at."""
    broken: int
    """Cases that are left out."""
    slices: int
    liver_slices: int
    tumour_slices: int

    @classmethod
    def of(cls, checked: Checked) -> "Summary":
        """Count what was found."""
        facts = checked.facts
        return cls(
            patients=len({each.patient for each in facts}),
            with_tumours=len({each.patient for each in facts if each.tumour_slices}),
            series=len(facts),
            doubtful=sum(bool(each.doubts) for each in facts),
            broken=len(checked.broken),
            slices=sum(each.slices for each in facts),
            liver_slices=sum(each.liver_slices for each in facts),
            tumour_slices=sum(each.tumour_slices for each in facts),
        )


def check_folder(folder: Path, console: Console) -> Checked:
    """Read everything in `folder` and return the facts.

    Raises:
        BadData: there is nothing that could be learnt from, broken or not.
    """
    broken: list[tuple[Found, str]] = []
    facts: list[Facts] = []
    columns = (SpinnerColumn(), TextColumn("{task.completed} series read, {task.description}"))
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=None)
        for part in read_parts(folder, lambda found, error: broken.append((found, str(error)))):
            facts.append(facts_of(part))
            progress.update(task, advance=1, description=part.name)
    if not facts and not broken:
        raise BadData(
            f"no labelled slices or volumes in {folder}; name a data set's folder, or describe "
            f"your own data in {DATASET} (docs/datasets.md)"
        )
    pairs = [(facts[one], facts[two], how) for one, two, how in alike([f.signature for f in facts])]
    return Checked(
        facts,
        broken,
        [pair for pair in pairs if pair[0].patient != pair[1].patient],
        [(one, two) for one, two, _ in pairs if one.signature.digest == two.signature.digest],
    )


def show_checked(checked: Checked, console: Console) -> None:
    """Print the sums, then what is broken or double, then one line for each series."""
    console.print(_sums(checked))
    for found, why in checked.broken:
        console.print(f"left out: {why} [{found.place}]", style="red", markup=False)
    for one, two, how in checked.twins:
        console.print(
            f"{one.name} ({one.source}) and {two.name} ({two.source}) show the same slices "
            f"(correlation {how:.3f}): one patient with two names?",
            style="yellow",
        )
    for one, two in checked.copies:
        console.print(f"{one.name} and {two.name} are the same in every pixel", style="yellow")
    if checked.facts:
        console.print(_table(checked.facts))


def _table(facts: Sequence[Facts]) -> Table:
    table = Table(*COLUMNS)
    # Like a set, but in the order in which they were found.
    for source in dict.fromkeys(each.source for each in facts):
        table.add_section()
        table.add_row(Text(source, "bold"))
        for each in (each for each in facts if each.source == source):
            table.add_row(*_row(each))
    return table


def _row(facts: Facts) -> tuple[str | Text, ...]:
    return (
        Text(facts.name),
        Text(facts.patient),
        f"{facts.slices} ({facts.liver_slices} liver, {facts.tumour_slices} tumour)",
        " x ".join("?" if np.isnan(mm) else f"{mm:.2f}" for mm in facts.spacing_mm),
        f"{facts.hu[0]} to {facts.hu[1]}",
        "?" if np.isnan(facts.liver_ml) else f"{facts.liver_ml:.0f}",
        "?" if np.isnan(facts.tumour_ml) else f"{facts.tumour_ml:.1f}",
        Text("\n".join(facts.doubts), "yellow"),
    )


def _sums(checked: Checked) -> str:
    sums = Summary.of(checked)
    if not checked.facts:
        return f"no case can be used: all {sums.broken} are broken"
    return (
        f"{sums.patients} patients, {sums.with_tumours} with drawn tumours; {sums.series} series, "
        f"{sums.doubtful} with doubts, {sums.broken} broken; {sums.slices} slices, "
        f"{sums.liver_slices} with liver, {sums.tumour_slices} with tumour"
    )


def check(folder: Path, sheet: Path | None, console: Console, *, quiet: bool = False) -> Checked:
    """Check a folder, print what was found, and draw the contact sheet where it is asked for.

    `quiet` leaves the printing of what was found to the caller.
    """
    checked = check_folder(folder, console)
    if not quiet:
        show_checked(checked, console)
    if sheet is not None and checked.facts:
        write_sheet(checked.facts, sheet)
        console.print(f"contact sheet: {sheet}")
    return checked
