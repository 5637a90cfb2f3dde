"""A recipe: everything that decides what is learnt, as one TOML file."""

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trainer.errors import BadRecipe

RECIPES = Path(__file__).parent / "recipes"

Window = tuple[float, float]
"""Lower and upper bound in Hounsfield units."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Working(_Part):
    """The grid that members see."""

    spacing_mm: float = Field(gt=0)
    """Millimetres between pixels; more where a slice would not fit otherwise."""
    size: int = Field(multiple_of=32)
    """Rows and columns."""
    clip_hu: Window
    """Bounds that voxels are clipped to before anything else."""
    windows: tuple[Window, ...]
    """One input channel each, its bounds brought to 0 and 1."""


class Augmentation(_Part):
    """How far a training slice may be from the one that was scanned."""

    rotation_deg: float
    scale: float
    """Natural logarithm's bound where the pixel size is known."""
    scale_unknown: float
    """The same where it is not."""
    unknown_pixel_mm: float
    """Pixel size that is assumed where it is lost."""
    shift_mm: float
    elastic_mm: float
    gain: float
    """Bound of the relative change of contrast about 80 HU."""
    shift_hu: float
    noise_hu: float
    """Largest standard deviation of the added noise."""


class Batch(_Part):
    """What one training step sees, in slices."""

    tumour: int
    """Slices with tumour, patients drawn alike."""
    other: int
    """Slices of patients without tumour in them, patients drawn alike."""
    phantom: int

    @property
    def size(self) -> int:
        """Slices in all."""
        return self.tumour + self.other + self.phantom


class Member(_Part):
    """One network and how long it learns."""

    network: Literal["unet", "linknet", "fpn"]
    cycles: tuple[Annotated[int, Field(gt=1)], ...] = Field(min_length=1)
    """Steps of each cycle of the learning rate; each peaks at half of the one before."""
    seed: int

    @property
    def steps(self) -> int:
        """Steps in all."""
        return sum(self.cycles)


class Recipe(_Part):
    """What is learnt, from whom, and how."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    version: str
    description: str
    remarks: str = ""
    """What a reader of the results should know of how the recipe came about."""
    seed: int
    """Seed of the split and of the phantoms."""
    held_out: Annotated[int, Field(ge=2)]
    """One patient in so many is never trained on."""
    phantoms: int
    crop: int = Field(multiple_of=32)
    """Rows and columns of a training slice on the working grid."""
    learning_rate: float
    """Peak of the first cycle."""
    weight_decay: float
    average: float
    """Decay of the running average of the weights, which is what is kept."""
    working: Working
    augmentation: Augmentation
    batch: Batch
    members: tuple[Member, ...] = Field(min_length=1)


def load_recipe(name: str) -> Recipe:
    """Read a recipe that ships with the trainer by its name, or any other by its path.

    Raises:
        BadRecipe: there is no such file, or it is not a recipe.
    """
    path = RECIPES / f"{name}.toml" if "." not in name and "/" not in name else Path(name)
    try:
        return Recipe.model_validate(tomllib.loads(path.read_text()))
    except OSError as error:
        known = ", ".join(sorted(p.stem for p in RECIPES.glob("*.toml")))
        raise BadRecipe(f"no recipe {name!r}: name a TOML file or one of {known}") from error
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise BadRecipe(f"recipe {path} cannot be used: {error}") from error
