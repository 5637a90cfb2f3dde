"""Schema of `model.json`; unknown keys are rejected."""

import hashlib
import math
from enum import StrEnum
from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, model_validator

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

    low: FiniteFloat
    high: FiniteFloat

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


class LesionFeature(StrEnum):
    """Feature of a marked lesion that its probability is computed from."""

    DIAMETER = "log2_longest_mm"
    """Binary logarithm of the longest diameter in millimetres."""
    AGREEMENT = "agreement"
    """Agreement of the members on tumours, pooled over the lesion's slices."""


class LogisticFit(_Part):
    """Coefficients of a logistic regression."""

    intercept: FiniteFloat
    coefficients: dict[LesionFeature, FiniteFloat] = Field(min_length=1)


class LesionCalibration(_Part):
    """Probability that experts draw a tumour where a lesion is marked."""

    fit: LogisticFit
    """On all patients."""
    without_one: tuple[LogisticFit, ...] = Field(min_length=2)
    """The same without one patient at a time; their spread is the uncertainty (jackknife)."""
    t_quantile: FiniteFloat = Field(gt=0)
    """Half-width of the interval in standard errors: Student's t of one degree of freedom less than
    there are patients."""
    confidence: float = Field(gt=0, lt=1)
    """Of that interval."""
    ranges: dict[LesionFeature, Range]
    """Lowest and highest value met; of a lesion outside of them no probability is stated."""
    true_marks: int = Field(ge=1)
    false_marks: int = Field(ge=1)

    @property
    def patients(self) -> int:
        """Number of patients whose marks were fitted."""
        return len(self.without_one)

    @model_validator(mode="after")
    def _require_same_features(self) -> "LesionCalibration":
        wanted = set(self.fit.coefficients)
        for found in (*(set(each.coefficients) for each in self.without_one), set(self.ranges)):
            if found != wanted:
                raise ValueError(
                    f"features {sorted(found)} beside {sorted(wanted)}: every fit and the ranges"
                    " must have the same"
                )
        return self


def conformal_rank(patients: int, coverage: float) -> int:
    """Return which error, from 1 for the smallest, is the half-width of a conformal interval.

    No interval has the coverage where this is more than there are patients (Vovk et al. 2005;
    Lei et al. 2018, arXiv:1604.04173).
    """
    # Rounded first: (9 + 1) * 0.9 must not become 10 by the last bit.
    return math.ceil(round((patients + 1) * coverage, 9))


class VolumeCalibration(_Part):
    """Interval of a volume by split conformal prediction."""

    relative_error: FiniteFloat = Field(ge=0)
    """Half-width as a fraction of the measured volume."""
    coverage: float = Field(gt=0, lt=1)
    """Least fraction of exchangeable patients whose true volume lies in the interval."""
    patients: int = Field(ge=1)
    """Number of patients that the half-width rests on."""

    @model_validator(mode="after")
    def _require_enough_patients(self) -> "VolumeCalibration":
        if (rank := conformal_rank(self.patients, self.coverage)) > self.patients:
            raise ValueError(
                f"coverage {self.coverage:g} takes error {rank} of {self.patients}: state a lower"
                " coverage, or none"
            )
        return self


class AgreementCalibration(_Part):
    """Agreement of the members (intersection over union) that tells the worse results."""

    least: FiniteFloat = Field(ge=0, le=1)
    """A result below it is marked for review."""
    part: float = Field(gt=0, lt=1)
    """Fraction of the patients that lies below it."""
    patients: int = Field(ge=1)


class Calibration(_Part):
    """How certain results are, by patients that no member learnt from."""

    lesions: LesionCalibration | None = None
    liver_volume: VolumeCalibration | None = None
    tumour_volume: VolumeCalibration | None = None
    liver_agreement: AgreementCalibration | None = None
    tumour_agreement: AgreementCalibration | None = None

    def least_agreement(self, label: Label) -> AgreementCalibration | None:
        """Return the bound for the liver with its tumours, or for tumours."""
        return self.liver_agreement if label == Label.LIVER else self.tumour_agreement


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
    calibration: Calibration | None = None
    """None: results state no probabilities and no intervals."""
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
