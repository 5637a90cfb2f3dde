"""Agreement of results with corrections: Dice by month and scanner."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

from dicom_node.corrections.correction import Correction, newest_of_each_result

STRUCTURES = "liver", "tumour"

RECENT = 5
"""Newest corrections that are compared with those before, of which there must be as many."""

FELL = {"liver": 0.03, "tumour": 0.1}
"""Mean Dice by which a structure must have fallen. Tumours vary more from patient to patient."""


@dataclass(frozen=True)
class AgreementRow:
    """Corrected results of one month from one scanner, by one model."""

    month: str
    """Such as "2026-11"."""
    scanner: str
    model: str
    count: int
    dice: Mapping[str, float]
    """Mean of each structure that was marked."""


@dataclass(frozen=True)
class Fall:
    """A structure in which the newest results of a scanner agree less than those before."""

    scanner: str
    structure: str
    before: float
    """Mean Dice of all but the newest."""
    recent: float

    @property
    def text(self) -> str:
        """What happened, and what to do."""
        return (
            f"Dice of the {self.structure} fell from {self.before:.2f} to {self.recent:.2f} on"
            f" {self.scanner} in the last {RECENT} corrected results; look at them, and ask what"
            " changed: protocol, contrast phase, kernel, model"
        )


def agreement(corrections: list[Correction]) -> list[AgreementRow]:
    """Return a row for each month, scanner and model, the newest month first."""
    groups: dict[tuple[str, str, str], list[Correction]] = defaultdict(list)
    for each in newest_of_each_result(corrections):
        groups[each.month, each.scanner.name, each.model].append(each)
    rows = [
        AgreementRow(month, scanner, model, len(group), means(group))
        for (month, scanner, model), group in groups.items()
    ]
    rows.sort(key=lambda row: (row.scanner, row.model))
    return sorted(rows, key=lambda row: row.month, reverse=True)  # stable


def by_scanner(corrections: list[Correction]) -> Mapping[str, list[Correction]]:
    """Return the corrections that count by the name of the scanner, each group oldest first."""
    groups: dict[str, list[Correction]] = defaultdict(list)
    for each in newest_of_each_result(corrections):
        groups[each.scanner.name].append(each)
    return dict(sorted(groups.items()))


def falls(corrections: list[Correction]) -> list[Fall]:
    """Return where results agree less than they did, scanner by scanner."""
    found = (
        _fall(scanner, structure, [e.dice[structure] for e in group if structure in e.dice])
        for scanner, group in by_scanner(corrections).items()
        for structure in STRUCTURES
    )
    return [each for each in found if each is not None]


def _fall(scanner: str, structure: str, dice: Sequence[float]) -> Fall | None:
    before, recent = dice[:-RECENT], dice[-RECENT:]
    if len(before) < RECENT:
        return None
    fall = Fall(scanner, structure, mean(before), mean(recent))
    return fall if fall.before - fall.recent > FELL[structure] else None


def means(group: Sequence[Correction]) -> Mapping[str, float]:
    """Return the mean Dice of each structure that was marked."""
    dice = {name: [each.dice[name] for each in group if name in each.dice] for name in STRUCTURES}
    return {name: mean(values) for name, values in dice.items() if values}
