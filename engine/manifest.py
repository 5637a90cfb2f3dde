"""What `model.json` says; a key that is not here is refused by name."""

from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from engine.volume import Label

CONTRACT = 1
"""Version of the graph contract: inputs, outputs and their meaning."""


def _plain(name: str) -> str:
    if name in {"", ".", ".."} or PurePath(name).name != name or "\\" in name:
        raise ValueError(f"{name!r} is not the plain name of a file in the folder")
    return name


FileName = Annotated[str, AfterValidator(_plain)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Octet = Annotated[int, Field(ge=0, le=255)]
Millimetres = Annotated[float, Field(gt=0)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Code(_Part):
    """A coded concept, as DICOM writes it (PS3.3 8.8)."""

    value: str
    scheme: str
    meaning: str


class ModelClass(_Part):
    """One thing that the model marks."""

    label: Label
    name: str
    category: Code
    type: Code
    colour_rgb: tuple[Octet, Octet, Octet]


class Working(_Part):
    """The grid on which the members look at a slice."""

    spacing_mm: Millimetres
    size: tuple[int, int]
    """Rows, columns."""
    neighbours: int = Field(default=0, ge=0)
    """Slices to either side that an answer depends on, taken from the same call."""
    liver_hu: float | None = Field(default=None, ge=0, le=200)
    """Level of the livers that the members learnt from; volumes whose liver lies far from it are
    shifted. None: they are computed as they were scanned."""


class Graph(_Part):
    """What the ONNX file is written in."""

    opset: int
    precision: Literal["float32", "float16", "int8"]


class Tolerances(_Part):
    """How far a device may stray from the reference before it must not serve."""

    differing_pixels: float = Field(default=0.001, ge=0, le=1)
    """At most this part of all pixels may carry another label."""
    dice: float = Field(default=0.995, ge=0, le=1)
    """At least this Dice with the reference, for each class."""
    agreement: float = Field(default=0.01, ge=0, le=1)
    """At most this difference of the members' pooled agreement, for each class."""


class Data(_Part):
    """Data that the members learnt from."""

    name: str
    licence: str
    attribution: str


class Manifest(_Part):
    """The whole of `model.json`."""

    contract: Literal[1]
    name: str
    version: str
    members: tuple[str, ...] = Field(min_length=1)
    classes: tuple[ModelClass, ...] = Field(min_length=1)
    working: Working
    graph: Graph
    tolerances: Tolerances = Tolerances()
    recipe: dict[str, Any] = {}
    """How it was trained; for people, not for the engine."""
    data: tuple[Data, ...]
    evaluation: dict[str, Any] = {}
    """How well it did, on whom; likewise."""
    files: dict[FileName, Sha256]

    @model_validator(mode="after")
    def _names_what_the_engine_needs(self) -> "Manifest":
        for name in ("ensemble.onnx", "reference.npz"):
            if name not in self.files:
                raise ValueError(f"files: {name} is not among {sorted(self.files)}")
        labels = [kind.label for kind in self.classes]
        if labels != sorted(set(labels)) or Label.BACKGROUND in labels:
            raise ValueError(f"classes: labels {[int(k) for k in labels]} do not rise from 1")
        return self
