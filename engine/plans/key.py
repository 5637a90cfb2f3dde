"""Identity of a plan: GPU architecture, TensorRT version, precision, model, build options."""

import hashlib
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

SHORT = 12
"""Digits of a model's digest in names and messages."""


class Flavour(StrEnum):
    """Flavour of TensorRT; neither can load the other's plans."""

    TENSORRT = "tensorrt"
    RTX = "tensorrt_rtx"


class Precision(StrEnum):
    """Number format of the members; the rest of the graph is float32."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    INT8 = "int8"


class Part(BaseModel):
    """Frozen part of a manifest; unknown keys are rejected."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Options(Part):
    """Build options other than the precision."""

    batch: int = Field(default=64, ge=1, le=256)
    """Largest number of slices at once; how many are computed is measured at opening."""
    usual: int = Field(default=512, ge=32, le=4096)
    """Rows and columns that TensorRT optimises for."""
    largest: int = Field(default=1024, ge=32, le=4096)
    """Largest number of rows and columns of a slice."""
    level: int = Field(default=3, ge=0, le=5)
    """TensorRT's builder optimisation level: higher builds longer and may run faster."""

    @model_validator(mode="after")
    def _require_ascending(self) -> "Options":
        if self.usual > self.largest:
            raise ValueError(f"usual {self.usual} exceeds largest {self.largest}")
        return self

    @property
    def digest(self) -> str:
        """First eight hex digits of the SHA-256 of all options."""
        # Of all options, in the order of the fields: a new or moved one renames every plan,
        # and manifests under old names are refused.
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:8]


class PlanKey(Part):
    """Everything that must match for a plan to be usable."""

    architecture: Annotated[str, Field(pattern=r"^sm[0-9]{2,3}$")]
    """Compute capability of the GPU, such as sm89."""
    flavour: Flavour
    # It goes into file names: no slash.
    version: Annotated[str, Field(pattern=r"^[0-9A-Za-z.+]+$")]
    """Full version of TensorRT."""
    precision: Precision
    model: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """Digest of the model."""
    options: Options = Options()

    @property
    def name(self) -> str:
        """The key as a prefix of file names."""
        made_by = f"{self.architecture}-{self.flavour}-{self.version}"
        return f"{made_by}-{self.precision}-{self.model[:SHORT]}-{self.options.digest}"

    @property
    def slot(self) -> str:
        """Key of the active plan: at most one plan per GPU architecture and model is active."""
        return slot_of(self.architecture, self.model)


def slot_of(architecture: str, model: str) -> str:
    """Return the slot for a GPU architecture and a model's digest."""
    return f"{architecture}-{model[:SHORT]}"


def differences(built: PlanKey, wanted: PlanKey) -> list[str]:
    """Return a sentence for every field in which two keys differ; empty if they are equal."""
    reasons = {
        "architecture": f"built for a GPU of {built.architecture}, this one is"
        f" {wanted.architecture}",
        "flavour": f"built by {built.flavour}, installed is {wanted.flavour}",
        "version": f"built by {built.flavour} {built.version}, installed is {wanted.version}",
        "precision": f"built in {built.precision}, requested is {wanted.precision}",
        "model": f"built for model {built.model[:SHORT]}, in use is {wanted.model[:SHORT]}",
        "options": f"built with other options: {_changes(built.options, wanted.options)}",
    }
    return [
        why for field, why in reasons.items() if getattr(built, field) != getattr(wanted, field)
    ]


def _changes(built: Options, wanted: Options) -> str:
    ours, theirs = built.model_dump(), wanted.model_dump()
    return ", ".join(
        f"{name} {ours[name]} != {theirs[name]}" for name in ours if ours[name] != theirs[name]
    )
