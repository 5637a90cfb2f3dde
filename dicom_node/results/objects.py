"""Kinds and forms of result objects, and the choice of a destination among them."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class ObjectKind(StrEnum):
    """A kind of object that can be made of a series; also what configuration and files call it."""

    SEG = "seg"
    REPORT = "report"
    MONTAGE = "montage"
    RTSTRUCT = "rtstruct"
    PDF = "pdf"


class Encoding(StrEnum):
    """Encoding of the masks in a SEG."""

    BINARY = "binary"
    LABELMAP = "labelmap"


@dataclass(frozen=True)
class SegForm:
    """Encoding and segments of a SEG; a report refers to the segments of one form."""

    encoding: Encoding = Encoding.BINARY
    per_lesion: bool = False
    """One segment for each lesion, instead of one for all."""


@dataclass(frozen=True)
class ResultObject:
    """One object of a series, in one of its forms."""

    kind: ObjectKind
    form: SegForm = SegForm()

    @property
    def name(self) -> str:
        """Name among the objects of the series."""
        words: list[str] = [self.kind]
        if self.form.encoding is not Encoding.BINARY:
            words.append(self.form.encoding)
        if self.form.per_lesion:
            words.append("lesions")
        return "-".join(words)

    def file_beside(self, seg: Path) -> Path:
        """Return the file of the object when that of the BINARY SEG is `seg`."""
        return seg if self == SEG else seg.with_suffix(f".{self.name}.dcm")


def item_name(file: Path) -> str:
    """Return the name of the item that a file holds."""
    # The inverse of `file_beside` for the files of jobs, whose names have no dots of their own; the
    # last number of a series UID would count as an item.
    return Path(file.stem).suffix.removeprefix(".") or SEG.name


FORMED = (ObjectKind.SEG, ObjectKind.REPORT)
"""Kinds that differ with the form of the SEG."""

PICTURED = frozenset({ObjectKind.MONTAGE, ObjectKind.PDF})
"""Kinds that show a picture of the contours."""

SEG = ResultObject(ObjectKind.SEG)
"""The object that every series with a liver gets."""


def delivered_seg(items: Collection[ResultObject]) -> ResultObject:
    """Return the SEG among some items that a viewer is asked for: the plain one if it is there."""
    segs = sorted((item for item in items if item.kind is ObjectKind.SEG), key=_plain_first)
    return segs[0] if segs else SEG


def _plain_first(item: ResultObject) -> tuple[bool, str]:
    return item != SEG, item.name


class Receipt(StrEnum):
    """Endings of a series for which a peer receives a receipt."""

    NOTHING = "nothing"
    NOT_SELECTED = "not_selected"
    REFUSED = "refused"
    FAILED = "failed"


class Superseded(StrEnum):
    """What becomes of a peer's results once newer ones of the same series take their place."""

    KEEP = "keep"
    REJECT = "reject"
    """A Key Object Selection withdraws them."""
    DELETE = "delete"


@dataclass(frozen=True)
class Profile:
    """The objects that one destination gets."""

    objects: tuple[ObjectKind, ...] = (ObjectKind.SEG,)
    form: SegForm = SegForm()
    receipts: tuple[Receipt, ...] = ()
    superseded: Superseded = Superseded.KEEP

    @property
    def items(self) -> tuple[ResultObject, ...]:
        """The objects, each once."""
        return tuple(
            ResultObject(kind, self.form if kind in FORMED else SegForm())
            # Each once, in the order of the configuration, in which they are sent.
            for kind in dict.fromkeys(self.objects)
        )
