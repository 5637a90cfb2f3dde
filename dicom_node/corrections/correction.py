"""A segmentation that a person made of a result, and how far the result agreed with it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pydicom import Dataset

from dicom_node.attributes import text_of
from dicom_node.outside_text import outside_text

WAITS = "it waits for its turn"
"""Reason of a correction that came, and is not compared yet."""


@dataclass(frozen=True)
class Scanner:
    """The equipment that a series comes from, as its headers name it."""

    manufacturer: str = ""
    model: str = ""
    """Manufacturer's Model Name."""
    station: str = ""
    """Station Name, which tells two of a kind apart."""

    @property
    def name(self) -> str:
        """Name for people, in one line: pages, metrics and alerts show it."""
        words = " ".join(filter(None, (self.manufacturer, self.model, self.station)))
        return outside_text(words) or "not stated"


def scanner_of(instance: Dataset) -> Scanner:
    """Return the scanner of an instance."""
    keywords = "Manufacturer", "ManufacturerModelName", "StationName"
    return Scanner(*(text_of(instance, keyword) for keyword in keywords))


@dataclass(frozen=True)
class ShadowDice:
    """How far a shadow model agreed with a correction of the serving model's result."""

    model: str
    """Name and version of the shadow model."""
    digest: str
    dice: Mapping[str, float] = field(default_factory=dict)
    """As `Correction.dice`."""
    reason: str = ""
    """Why it was not compared; empty where it was."""


@dataclass(frozen=True)
class Correction:
    """A SEG that a person made, and the result that it corrects."""

    uid: str
    """Its SOP Instance UID."""
    series_uid: str
    """The series that it was drawn on; empty where it does not name one."""
    arrived: datetime
    job: str = ""
    """Job whose result it corrects; empty where there is none."""
    stack: str = ""
    """File of the labels that it was compared with: a series of several stacks has several."""
    written: str = ""
    """Content Date and Time, so that the newest sorts last."""
    scanner: Scanner = Scanner()
    model: str = ""
    """Name and version of the model that made the result."""
    digest: str = ""
    """Digest of the model."""
    dice: Mapping[str, float] = field(default_factory=dict)
    """Of the result against it, by the name of the label; without those that neither marks."""
    reason: str = ""
    """Why it does not count; empty where it may."""
    shadows: tuple[ShadowDice, ...] = ()
    """Shadow models that computed the same series; `model`, `digest` and `dice` above are those of
    the model that served."""
    given_up: str = ""
    """`file_stamp` of its file, where that is kept and not compared again, as the node failed or
    died of it; empty otherwise."""

    @property
    def text(self) -> str:
        """How far the result agrees with it, or why it does not count."""
        if self.reason:
            return f"not compared: {self.reason}"
        return "Dice " + ", ".join(f"{name} {dice:.3f}" for name, dice in self.dice.items())

    @property
    def month(self) -> str:
        """Month of its arrival, such as "2026-11"."""
        return f"{self.arrived:%Y-%m}"


def newest_of_each_result(corrections: list[Correction]) -> list[Correction]:
    """Return the corrections that count, the oldest first: of each result the newest."""
    newest = {
        (each.job, each.stack): each
        for each in sorted(corrections, key=lambda each: (each.written, each.arrived))
        if not each.reason
    }
    return sorted(newest.values(), key=lambda each: each.arrived)
