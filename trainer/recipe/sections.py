"""Sections of a recipe: loss, schedule, fusion, and the published system it follows."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A table of a recipe; a key that is not here is refused by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Loss(Section):
    """One weighted term of the loss."""

    kind: Literal["cross-entropy", "dice", "focal"]
    weight: float = Field(default=1.0, gt=0)
    gamma: float = Field(default=2.0, ge=0)
    """Focusing parameter (gamma) of the focal loss."""


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
    stop_patience: int | None = Field(default=None, ge=1)
    """Epochs without gain after which a member is done, the best epoch's weights kept; never."""
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
    departures: tuple[str, ...]
    """Departures of the recipe from the original, with reasons."""
