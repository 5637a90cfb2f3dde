"""Which objects a destination gets of each series."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class ObjectKind(StrEnum):
    """What can be made of a series."""

    SEG = "seg"
    REPORT = "report"
    MONTAGE = "montage"
    RTSTRUCT = "rtstruct"


class Encoding(StrEnum):
    """How a SEG keeps its masks."""

    BINARY = "binary"
    LABELMAP = "labelmap"


@dataclass(frozen=True)
class SegForm:
    """What a SEG is like; a report refers to the segments of one form."""

    encoding: Encoding = Encoding.BINARY
    per_lesion: bool = False
    """One segment for each lesion, instead of one for all."""


@dataclass(frozen=True)
class ResultObject:
    """One object of a series, as some destination wants it."""

    kind: ObjectKind
    form: SegForm = SegForm()

    @property
    def name(self) -> str:
        """What tells it from the other objects of the series."""
        words: list[str] = [self.kind]
        if self.form.encoding is not Encoding.BINARY:
            words.append(self.form.encoding)
        if self.form.per_lesion:
            words.append("lesions")
        return "-".join(words)

    def file_beside(self, seg: Path) -> Path:
        """Return where it lies when the BINARY SEG lies at `seg`."""
        return seg if self == SEG else seg.with_suffix(f".{self.name}.dcm")


def item_name(file: Path) -> str:
    """Return the name of the item that a file holds."""
    return Path(file.stem).suffix.removeprefix(".") or SEG.name


FORMED = (ObjectKind.SEG, ObjectKind.REPORT)
"""Kinds that differ with the form of the SEG."""

SEG = ResultObject(ObjectKind.SEG)
"""What is made of every series that has a liver."""


@dataclass(frozen=True)
class Profile:
    """What one destination gets."""

    objects: tuple[ObjectKind, ...] = (ObjectKind.SEG,)
    form: SegForm = SegForm()

    @property
    def items(self) -> tuple[ResultObject, ...]:
        """Its objects, each once."""
        return tuple(
            ResultObject(kind, self.form if kind in FORMED else SegForm())
            for kind in dict.fromkeys(self.objects)
        )
