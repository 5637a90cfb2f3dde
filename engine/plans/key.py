"""What a plan belongs to, and why it may no longer be of use."""

import hashlib
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

SHORT = 12
"""Digits of a model's digest that names and messages show."""


class Flavour(StrEnum):
    """Which TensorRT made a plan; neither reads the other's."""

    TENSORRT = "tensorrt"
    RTX = "tensorrt_rtx"


class Precision(StrEnum):
    """Type of the numbers in the members; all else of the graph is float32."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    INT8 = "int8"


class Part(BaseModel):
    """A frozen part of a manifest; a key that is not here is refused by name."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Options(Part):
    """What a build can be told beside the precision."""

    batch: int = Field(default=8, ge=1, le=256)
    """The most slices that one call carries; the plan takes every number up to it."""
    usual: int = Field(default=512, ge=32, le=4096)
    """Rows and columns to be fastest at."""
    largest: int = Field(default=1024, ge=32, le=4096)
    """The most rows and columns of a slice."""
    level: int = Field(default=3, ge=0, le=5)
    """How long TensorRT looks for fast kernels."""

    @model_validator(mode="after")
    def _rises(self) -> "Options":
        if self.usual > self.largest:
            raise ValueError(f"usual {self.usual} is more than largest {self.largest}")
        return self

    @property
    def digest(self) -> str:
        """Eight digits that change with any option."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:8]


class PlanKey(Part):
    """All that must be the same for a plan to be of use."""

    architecture: Annotated[str, Field(pattern=r"^sm[0-9]{2,3}$")]
    """Compute capability of the GPU, such as sm89."""
    flavour: Flavour
    version: Annotated[str, Field(pattern=r"^[0-9A-Za-z.+]+$")]
    """Of TensorRT, to the last number."""
    precision: Precision
    model: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """Digest of the model."""
    options: Options = Options()

    @property
    def name(self) -> str:
        """The key as the beginning of a file name."""
        made_by = f"{self.architecture}-{self.flavour}-{self.version}"
        return f"{made_by}-{self.precision}-{self.model[:SHORT]}-{self.options.digest}"

    @property
    def slot(self) -> str:
        """What at most one plan can be active for: a GPU architecture and a model."""
        return slot_of(self.architecture, self.model)


def slot_of(architecture: str, model: str) -> str:
    """Return the slot of a GPU architecture and a model's digest."""
    return f"{architecture}-{model[:SHORT]}"


def differences(built: PlanKey, wanted: PlanKey) -> list[str]:
    """Return, in words, why a plan of one key is none of the other; empty where it is."""
    told = {
        "architecture": f"built for a GPU of {built.architecture}, this one is"
        f" {wanted.architecture}",
        "flavour": f"built by {built.flavour}, here is {wanted.flavour}",
        "version": f"built by {built.flavour} {built.version}, here is {wanted.version}",
        "precision": f"built in {built.precision}, wanted is {wanted.precision}",
        "model": f"built for model {built.model[:SHORT]}, here is {wanted.model[:SHORT]}",
        "options": f"built with other options: {_changes(built.options, wanted.options)}",
    }
    return [why for field, why in told.items() if getattr(built, field) != getattr(wanted, field)]


def _changes(built: Options, wanted: Options) -> str:
    ours, theirs = built.model_dump(), wanted.model_dump()
    return ", ".join(
        f"{name} {ours[name]} != {theirs[name]}" for name in ours if ours[name] != theirs[name]
    )
