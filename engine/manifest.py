"""Schema of `model.json`; unknown keys are rejected."""

import hashlib
from enum import StrEnum
from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from engine.volume import Label

LEARNT_PATIENTS = "learnt_patients"
"""Key in the evaluation: patients who were trained on, or by whom the training was steered."""
CONTRACT = 1
"""Version of the graph contract: names, types and meaning of inputs and outputs."""


def _plain(name: str) -> str:
    # The names are joined to the model's folder: none may lead out of it.
    if name in {"", ".", ".."} or PurePath(name).name != name or "\\" in name:
        raise ValueError(f"{name!r} is not a plain file name: remove folders from it")
    return name


FileName = Annotated[str, AfterValidator(_plain)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Octet = Annotated[int, Field(ge=0, le=255)]
Millimetres = Annotated[float, Field(gt=0)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Code(_Part):
    """A coded concept in DICOM's form (PS3.3 section 8.8)."""

    value: str
    scheme: str
    meaning: str


class ModelClass(_Part):
    """One class that the model segments."""

    label: Label
    name: str
    category: Code
    type: Code
    colour_rgb: tuple[Octet, Octet, Octet]


class Working(_Part):
    """The pixel grid on which the members process a slice."""

    spacing_mm: Millimetres
    size: tuple[int, int]
    """Rows, columns."""
    neighbours: int = Field(default=0, ge=0)
    """Adjacent slices on each side that an answer depends on, taken from the same call."""
    liver_hu: float | None = Field(default=None, ge=0, le=200)
    """Level of the livers that the members learnt from; volumes whose liver lies far from it are
    shifted. None: they are computed as they were scanned."""


class Graph(_Part):
    """Format of the ONNX file."""

    opset: int
    precision: Literal["float32", "float16", "int8"]


class Tolerances(_Part):
    """Largest deviation from the reference at which a device may serve."""

    differing_pixels: float = Field(default=0.001, ge=0, le=1)
    """Largest fraction of pixels with a different label."""
    dice: float = Field(default=0.995, ge=0, le=1)
    """Smallest Dice with the reference, for each class."""
    agreement: float = Field(default=0.01, ge=0, le=1)
    """Largest difference of the members' pooled agreement, for each class."""


class Data(_Part):
    """A data set that the members were trained on."""

    name: str
    licence: str
    attribution: str


class Feature(StrEnum):
    """Feature of a scan by which those that are unlike the training data are told."""

    LEVEL = "liver_hu"
    """Median HU of the liver."""
    SPREAD = "liver_spread_hu"
    """Robust standard deviation of the liver's HU: noise, vessels, tumours, patches of fat."""
    NOISE = "noise_hu"
    """Robust standard deviation of the noise in the liver."""
    VESSELS = "vessels_hu"
    """The brightest twentieth of the smoothed liver above its median: contrast of its vessels."""
    CONTRAST = "contrast_hu"
    """Median of the liver above that of the soft tissue around it; with the phase it changes."""
    CUT = "cut_percent"
    """Percentage of the liver at the bounds of the HU that the model sees, or beyond them."""
    PART = "liver_percent"
    """Percentage of a slice that is liver, on average over the slices with liver."""
    FIELD = "field_mm"
    """Side of the field of view."""
    SLICES = "slice_mm"
    """Distance between slices."""


class Range(_Part):
    """Values that are within what was learnt."""

    low: float
    high: float

    @model_validator(mode="after")
    def _require_order(self) -> "Range":
        if self.low > self.high:
            raise ValueError(f"low {self.low:g} is above high {self.high:g}: swap them")
        return self


class Domain(_Part):
    """What the scans were like that the members learnt from."""

    patients: int = Field(ge=1)
    """On whom the ranges rest."""
    hu_bounds: tuple[float, float]
    """Hounsfield units that every feature is measured within."""
    ranges: dict[Feature, Range]
    """The middle 95 % of the patients, feature by feature."""


class Manifest(_Part):
    """The contents of `model.json`."""

    contract: Literal[1]
    name: str
    version: str
    members: tuple[str, ...] = Field(min_length=1)
    classes: tuple[ModelClass, ...] = Field(min_length=1)
    working: Working
    graph: Graph
    tolerances: Tolerances = Tolerances()
    recipe: dict[str, Any] = {}
    """Training configuration; informative, not read by the engine."""
    data: tuple[Data, ...]
    evaluation: dict[str, Any] = {}
    """Evaluation results, and the names of the patients held out and learnt from."""
    domain: Domain | None = None
    """Results of scans outside of it are marked for review; None: scans are not compared."""
    left_out: dict[str, str] = {}
    """Sections that could not be written, each with the reason; informative."""
    files: dict[FileName, Sha256]

    @property
    def learnt_patients(self) -> frozenset[str]:
        """Names of the patients learnt from; empty where the model does not list them."""
        return frozenset(map(str, self.evaluation.get(LEARNT_PATIENTS, ())))

    @model_validator(mode="after")
    def _require_files_and_labels(self) -> "Manifest":
        for name in ("ensemble.onnx", "reference.npz"):
            if name not in self.files:
                raise ValueError(f"files: {name} is missing from {sorted(self.files)}")
        labels = [kind.label for kind in self.classes]
        # Segment numbers of a SEG start at 1 and are unique (PS3.3 C.8.20.2.4).
        if labels != sorted(set(labels)) or Label.BACKGROUND in labels:
            raise ValueError(f"classes: labels {[int(k) for k in labels]} are not ascending from 1")
        return self


def hashed_patient(patient_id: str, study_uid: str) -> str:
    """Return the name in model folders of a patient of an archive.

    Args:
        patient_id: Patient ID, which the name does not reveal.
        study_uid: Study Instance UID, in place of an ID that was removed: an empty one would make
            all such patients one.
    """
    known = (patient_id.strip() or study_uid).encode()
    return f"patient-{hashlib.sha256(known).hexdigest()[:12]}"
