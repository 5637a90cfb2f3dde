"""A plan: a built engine and its manifest."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from engine.plans.key import Part, PlanKey


class State(StrEnum):
    """Life cycle of a plan."""

    BUILT = "built"
    REJECTED = "rejected"
    VERIFIED = "verified"
    ACTIVE = "active"
    PREVIOUS = "previous"


class Check(Part):
    """Result of checking a plan against the model's reference."""

    passed: bool
    device: str
    """Name of the device that ran it."""
    batches: tuple[int, ...]
    """Batch sizes that were checked."""
    differing_pixels: float
    """Fraction of pixels with a different label, at the worst batch size."""
    dice: Mapping[str, float]
    """Smallest Dice with the reference, by class."""
    agreement: Mapping[str, float]
    """The largest difference of the members' pooled agreement, by class."""
    faults: tuple[str, ...] = ()
    """Reasons for a rejection."""
    when: datetime


class PlanManifest(Part):
    """Contents of the JSON file beside a plan."""

    form: Literal[1] = 1
    key: PlanKey
    model: str
    """Name and version of the model; informative."""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    size: int
    """Bytes of the plan."""
    seconds: float
    """Duration of the build."""
    built: datetime
    hepar: str
    """Version of Hepar that built it."""
    check: Check | None = None
    """None until the plan has been verified."""

    @property
    def name(self) -> str:
        """The key and eight digits of the content's digest, so two builds are two plans."""
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
        """Name of the plan in commands and results."""
        return self.manifest.name

    @property
    def key(self) -> PlanKey:
        """Identity of the plan."""
        return self.manifest.key
