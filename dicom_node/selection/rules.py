"""Rules by which series are selected and put first; sections `[select]` and `[urgent]`.

These classes are the configuration's sections: each rule is written once. This module must not
import pydicom, which takes longer to load than the whole configuration.
"""

import re
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

DESCRIBED = ("SeriesDescription", "StudyDescription", "ProtocolName", "BodyPartExamined")
"""The attributes that `include` and `exclude` rules may look at."""

Patterns = dict[str, str]
"""Attribute of `DESCRIBED` to a regular expression, matched anywhere in it, in any case."""


Criterion = Literal["phase", "kernel", "thickness"]
"""Property by which the series of a study are ranked."""


class Rules(BaseModel):
    """Requirements on a series. The defaults select every CT series that is not a localizer.

    The geometry of its slices is not checked here but by `series.stacks`, which sees more.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    modalities: tuple[Literal["CT"], ...] = ("CT",)
    """Allowed values of Modality; the models know CT only."""
    image_types: tuple[str, ...] = ()
    """Values of ImageType of which every instance must hold at least one; empty: any will do."""
    refused_image_types: tuple[str, ...] = ("LOCALIZER",)
    """Values of ImageType that no instance may hold."""
    min_slices: int = 1
    """Instances of the series, or frames in them."""
    max_slices: int | None = None
    """The same; no bound when absent."""
    min_thickness_mm: float | None = None
    """Slice Thickness; where there is a bound, a series without the attribute is not selected."""
    max_thickness_mm: float | None = None
    """The same."""
    include: Patterns = {}
    """Patterns of which all must match."""
    exclude: Patterns = {}
    """Patterns of which none may match."""
    bridge_gaps: bool = False
    """Segment a stack of which one or two slices are missing: volumes are measured across the gaps,
    the SEG shows the slices that are there, and the result names the gaps."""
    derived_axial: bool = False
    """Segment axial images that are DERIVED, such as thick slices computed from thin ones, where
    the archive holds nothing else. Reformatted images stay refused."""
    best_of_study: bool = False
    """Segment only the best of the series of a study that come close together; the others are not
    selected. Urgent series, and those that a person asks for, are segmented in any case."""
    study_wait_s: float = Field(default=120.0, ge=0)
    """With `best_of_study`: seconds without a new instance of a study after which its best series
    is chosen."""
    prefer: tuple[Criterion, ...] = Field(default=("phase", "kernel", "thickness"), min_length=1)
    """With `best_of_study`: what makes a series better, the most important first. Portal venous
    before unknown, delayed, arterial and no contrast; soft kernels before sharp ones; thin slices
    before thick ones. Of equal series the one with more slices is taken."""

    @field_validator("include", "exclude")
    @classmethod
    def _usable(cls, patterns: Patterns) -> Patterns:
        return _require_patterns(patterns)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        _require_range("slices", self.min_slices, self.max_slices)
        _require_range("thickness_mm", self.min_thickness_mm, self.max_thickness_mm)
        return self


class PriorityRules(BaseModel):
    """Rules that make a series urgent besides its own priority; one match is enough."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    calling: tuple[str, ...] = ()
    """AE titles of senders, such as the emergency room's scanner, whose series are all urgent."""
    include: Patterns = {}
    """Patterns of which all must match."""

    @field_validator("include")
    @classmethod
    def _usable(cls, patterns: Patterns) -> Patterns:
        return _require_patterns(patterns)


def _require_patterns(patterns: Patterns) -> Patterns:
    """Return `patterns` if each names an attribute of `DESCRIBED` and is a regular expression.

    Raises:
        ValueError: one is not; the message gives a valid one.
    """
    for keyword, pattern in patterns.items():
        if keyword not in DESCRIBED:
            raise ValueError(f"unknown attribute {keyword!r}; allowed: {', '.join(DESCRIBED)}")
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(
                f"{pattern!r} for {keyword} is no regular expression: {error}; correct the pattern"
            ) from error
    return patterns


def _require_range(name: str, least: float | None, most: float | None) -> None:
    if least is not None and most is not None and least > most:
        raise ValueError(
            f"no series has at least {least:g} and at most {most:g}; let min_{name} be no more than"
            f" max_{name}"
        )
