"""What a series must be like to be worth segmenting; `selection` tells which are."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from dicom_node.errors import BadConfiguration

DESCRIBED = ("SeriesDescription", "StudyDescription", "ProtocolName", "BodyPartExamined")
"""The attributes that `Rules.include` and `Rules.exclude` may look at."""


@dataclass(frozen=True)
class Rules:
    """What a series must be like. The defaults take every CT series that is no localizer.

    What its slices form is not asked here: `geometry.classify` says it, and says it better.
    """

    modalities: tuple[str, ...] = ("CT",)
    """Allowed values of Modality."""
    image_types: tuple[str, ...] = ()
    """Values of ImageType of which every instance must hold at least one; empty: any will do."""
    refused_image_types: tuple[str, ...] = ("LOCALIZER",)
    """Values of ImageType that no instance may hold."""
    min_slices: int = 1
    max_slices: int | None = None
    min_thickness_mm: float | None = None
    max_thickness_mm: float | None = None
    include: Mapping[str, str] = field(default_factory=dict)
    """Attribute of `DESCRIBED` to a regular expression found in it, in any case; all must be."""
    exclude: Mapping[str, str] = field(default_factory=dict)
    """The same, of which none may be found."""

    def __post_init__(self) -> None:
        for keyword, pattern in (*self.include.items(), *self.exclude.items()):
            _require_usable(keyword, pattern)
        _require_range("slices", self.min_slices, self.max_slices)
        _require_range("thickness_mm", self.min_thickness_mm, self.max_thickness_mm)


def _require_usable(keyword: str, pattern: str) -> None:
    if keyword not in DESCRIBED:
        raise BadConfiguration(f"no rule on {keyword!r}; one of {', '.join(DESCRIBED)} would do")
    try:
        re.compile(pattern)
    except re.error as error:
        raise BadConfiguration(
            f"{pattern!r} for {keyword} is no regular expression: {error}"
        ) from error


def _require_range(what: str, least: float | None, most: float | None) -> None:
    if least is not None and most is not None and least > most:
        raise BadConfiguration(
            f"no series has at least {least:g} and at most {most:g}; let min_{what} be no more than"
            f" max_{what}"
        )
