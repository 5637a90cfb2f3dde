"""One plan: a built engine, and the manifest that proves what it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from engine.plans.key import Part, PlanKey


class State(StrEnum):
    """How far a plan has come."""

    BUILT = "built"
    REJECTED = "rejected"
    VERIFIED = "verified"
    ACTIVE = "active"
    PREVIOUS = "previous"


class Check(Part):
    """What came of holding a plan against the model's reference."""

    passed: bool
    device: str
    """Where it ran."""
    batches: tuple[int, ...]
    """Numbers of slices that one call carried."""
    differing_pixels: float
    """Part of all pixels with another label, at the worst batch."""
    dice: Mapping[str, float]
    """The least overlap with the reference, by class."""
    agreement: Mapping[str, float]
    """The largest difference of the members' pooled agreement, by class."""
    faults: tuple[str, ...] = ()
    """Why it did not pass."""
    when: datetime


class PlanManifest(Part):
    """The file beside a plan."""

    form: Literal[1] = 1
    key: PlanKey
    model: str
    """Name and version of the model, for people."""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    size: int
    """Bytes of the plan."""
    seconds: float
    """How long it was built."""
    built: datetime
    hepar: str
    """Version of Hepar that built it."""
    check: Check | None = None
    """Absent until the plan was held against the reference."""

    @property
    def name(self) -> str:
        """The key, and eight digits of the content: two builds are two plans."""
        return f"{self.key.name}-{self.sha256[:8]}"


@dataclass(frozen=True)
class Plan:
    """A plan in a store."""

    manifest: PlanManifest
    path: Path
    """File of the engine itself."""
    state: State

    @property
    def name(self) -> str:
        """What commands and results call it."""
        return self.manifest.name

    @property
    def key(self) -> PlanKey:
        """What it belongs to."""
        return self.manifest.key
