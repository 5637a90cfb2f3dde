"""Sections of a recipe: loss, schedule, fusion, contrast, and the published system it follows."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Interval = tuple[float, float]
"""Lower and upper bound."""

Part = Annotated[float, Field(ge=0, le=1)]
"""Part of the slices, drawn slice by slice."""


class Section(BaseModel):
    """A table of a recipe; a key that is not here is refused by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Loss(Section):
    """One weighted term of the loss."""

    kind: Literal["cross-entropy", "dice", "focal", "tversky"]
    weight: float = Field(default=1.0, gt=0)
    gamma: float = Field(default=2.0, ge=0)
    """Focusing parameter (gamma) of the focal loss."""
    alpha: float = Field(default=0.3, ge=0)
    """Weight of false positives in the Tversky loss."""
    beta: float = Field(default=0.7, ge=0)
    """Weight of false negatives in it; above `alpha`, it asks for recall."""
    of: Literal["both", "liver", "tumour"] = "both"
    """Structure that an overlap loss, `dice` or `tversky`, counts."""

    @model_validator(mode="after")
    def _counts_a_structure(self) -> "Loss":
        if self.of != "both" and self.kind not in ("dice", "tversky"):
            raise ValueError(f"{self.kind} counts every pixel; `of` goes with dice and tversky")
        return self


class Distil(Section):
    """Learning from the teacher that `hepar train --teacher` names, besides the labels."""

    weight: float = Field(default=2.0, gt=0)
    """Weight of the distance to the teacher's probabilities, beside the terms of the loss."""


class Phase(Section):
    """Contrast augmentation by class; the defaults are those of `base` 1.3.0.

    Levels in HU are drawn evenly between two bounds, on the part of the slices that the key before
    states. It takes the place of the augmentation's `gain`, `shift_hu`, `noise_hu` and `soften`.
    """

    surroundings: Part = 0.45
    surroundings_hu: Interval = (-30.0, 65.0)
    """Shift of what surrounds the liver, organ by organ between none and all of it."""
    vessels: Part = 0.35
    vessel_gain: Interval = (-1.6, 1.0)
    """Added to the contrast of vessels in the liver, as its multiple: -1 levels them, below that
    they are darker than the liver."""
    tumours: Part = 0.5
    """Slices whose tumours get a new level."""
    tumours_brighter: Part = 0.6
    """Of these, the part whose tumours are brighter than the liver."""
    brighter_hu: Interval = (12.0, 55.0)
    darker_hu: Interval = (12.0, 55.0)
    rims: Part = 0.35
    """Of the slices whose tumours get a new level, the part with an enhancing rim."""
    rim_hu: Interval = (10.0, 40.0)
    cores: Part = 0.35
    """Likewise with a necrotic core."""
    core_hu: Interval = (10.0, 50.0)
    levels: Part = 0.55
    liver_hu: Interval = (68.0, 145.0)
    """Level to which a slice's liver is brought: those that the engine's shift leaves alone."""
    drift_hu: float = Field(default=8.0, ge=0)
    """Standard deviation of a further shift of every slice."""
    gain: float = Field(default=0.15, ge=0)
    """Bound of the natural logarithm of the gain about 100 HU."""
    smoothing: Interval = (-0.5, 1.0)
    """Part of the way to the smoothed slice; below 0 it is sharpened."""
    noise_hu: float = Field(default=18.0, ge=0)
    """Largest standard deviation of the added noise."""
    coarse_noise: Part = 0.4
    """Slices whose noise is coarse, as of a smooth kernel; it is white on the others."""


class Schedule(Section):
    """Optimiser, schedule and early stopping."""

    optimiser: Literal["adamw", "adam"] = "adamw"
    rate: Literal["one-cycle", "plateau", "constant"] = "one-cycle"
    """Learning-rate schedule: one-cycle; reduced on a plateau; or constant."""
    epoch_steps: int = Field(default=100, ge=1)
    """Steps between two looks at the validation patients; a run resumes at the last of them."""
    plateau_patience: int = Field(default=2, ge=0)
    """Epochs without gain after which `plateau` lowers the rate."""
    plateau_factor: float = Field(default=0.3, gt=0, lt=1)
    """Factor of each reduction."""
    stop_patience: int | None = Field(default=None, ge=0)
    """Epochs without gain after which a member is done, the best epoch's weights kept; 0: never."""
    stop_gain: float = Field(default=0.001, ge=0)
    """Smallest gain of the validation patients' mean Dice that counts."""


FusionKind = Literal["blumberg", "mean", "majority", "weighted"]


class FusionSettings(Section):
    """Fusion of the members' probabilities into one decision."""

    kind: FusionKind | Literal["best"] = "blumberg"
    """`best` is whichever does best on the validation patients, patient by patient."""
    liver_exponent: float = Field(default=1.0, gt=0)
    """Of the Blumberg fusion, as BLUE-Net's authors chose it."""
    tumour_exponent: float = Field(default=0.0001, gt=0)
    """Likewise."""
    tumour_threshold: float = Field(default=0.5, gt=0, lt=1)
    """Probability above which a member marks a tumour; below 0.5 tumours are drawn larger."""
    weights: tuple[tuple[float, float], ...] = ()
    """Of the weighted mean: each member's weight for liver and for tumour, learnt."""


class Origin(Section):
    """The published system that a recipe follows."""

    system: str
    dice: str
    """The figure that its authors state."""
    split: str
    """Split into training and test data in the original."""
    evidence: tuple[str, ...] = ()
    """Files of the original, and the place in each, from which this was read."""
    departures: tuple[str, ...]
    """Departures of the recipe from the original, with reasons."""


class Measured(Section):
    """What the recipe came to here, and what it cost; docs/recipes.md says how it was measured."""

    liver: float
    """Dice of the liver with its tumours, held-out patients."""
    tumour: float
    patients: int
    """Held-out patients."""
    ill: int
    """Those of them with drawn tumours."""
    parameters_m: float
    """Millions, all members together."""
    epoch_s: float | None = None
    """Seconds once through 1,628 slices on a shared processor; None: not measured."""
    how: str
    """What the Dice is of, and how long the members learnt."""
