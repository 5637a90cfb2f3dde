"""A recipe: everything that decides what is learnt, as one TOML file."""

import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from trainer.errors import BadRecipe
from trainer.recipe.key_changes import change_key
from trainer.recipe.mistakes import mistakes
from trainer.recipe.sections import (
    Distil,
    FusionSettings,
    Interval,
    Loss,
    Measured,
    Origin,
    Phase,
    Schedule,
    Section,
)

RECIPES = Path(__file__).parent / "shipped"
SPLITS = Path(__file__).parent / "splits"

LIKE = "like"
"""Key of a TOML file that names a shipped recipe, whose keys hold where the file has none."""

MANIFEST = "model.json"
"""File of a model folder that holds its recipe, as the engine names it."""

IN_DEPTH = frozenset({"dynunet"})
"""Networks in three dimensions."""

Window = Interval
"""Lower and upper bound in Hounsfield units."""


class Working(Section):
    """The grid that members see."""

    spacing_mm: float = Field(gt=0)
    """Millimetres between pixels; more where a slice would not fit otherwise."""
    # Five halvings: what the deepest networks take.
    size: int = Field(multiple_of=32)
    """Rows and columns."""
    clip_hu: Window
    """Bounds that voxels are clipped to before anything else."""
    drop_above_hu: float | None = None
    """Voxels above this count as the lower bound: metal and contrast in the gut."""
    windows: tuple[Window, ...] = ()
    """One input channel each, its bounds brought to 0 and 1."""
    equalised: tuple[Window, ...] = ()
    """One more channel each, its slice's histogram flattened between the bounds."""
    liver_hu: float | None = Field(default=None, ge=0, le=200)
    """Level, in HU, to which the engine shifts livers that lie far from it; None: it never does."""
    neighbours: int = Field(default=0, ge=0, le=3)
    """Slices to either side that a member sees too: as more channels (2.5-D), or, where its network
    is one in three dimensions, in depth."""

    @property
    def slices(self) -> int:
        """Slices that a member sees."""
        return 1 + 2 * self.neighbours

    @property
    def channels(self) -> int:
        """Channels that a member sees, those of all its slices."""
        return (len(self.windows) + len(self.equalised)) * self.slices

    @model_validator(mode="after")
    def _shows_something(self) -> "Working":
        if not self.channels:
            raise ValueError("neither windows nor equalised: members would see nothing")
        return self


class LiverGrid(Working):
    """The grid of a member with a `box`: it lies around the liver of each slice."""

    margin_mm: float


class LiverBox(Section):
    """A grid around the liver that the members without a box find, finer than theirs."""

    spacing_mm: float = Field(gt=0)
    """Millimetres between pixels; more where the liver would not fit otherwise."""
    size: int = Field(multiple_of=32)
    """Rows and columns."""
    margin_mm: float = Field(default=8.0, ge=0)
    """Least distance from the liver to the edge of the grid."""


class Augmentation(Section):
    """Limits of the augmentation of a training slice."""

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
    soften: bool = True
    """Blur some slices a little."""
    rotation_step_deg: float = Field(default=0.0, ge=0)
    """Step of rotations in degrees, if above 0."""
    reflections: bool = False
    """Mirror rows and columns at random."""
    grid_mm: float = Field(default=0.0, ge=0)
    """Displacement of the lines of a coarse grid."""
    tumour_only: bool = False
    """Leave slices without tumour as they were scanned."""
    synthetic_tumour: float = Field(default=0.0, ge=0, le=1)
    """Part of the slices with liver that get synthetic tumours besides what they have."""
    phase: Phase | None = None
    """Contrast changed class by class; None: gain, shift, noise and blur of the whole slice."""

    @model_validator(mode="after")
    def _changes_contrast_one_way(self) -> "Augmentation":
        if self.phase and (self.gain or self.shift_hu or self.noise_hu or self.soften):
            raise ValueError(
                "phase takes the place of gain, shift_hu, noise_hu and soften: "
                "set these to 0, 0, 0 and false"
            )
        if self.phase and self.tumour_only:
            raise ValueError("phase changes every slice: set tumour_only to false")
        return self


class Batch(Section):
    """Slices of one training step, by kind."""

    tumour: int
    """Slices with tumour, patients drawn alike."""
    small: int = 0
    """Slices whose tumours together are smaller than a disc of 22 mm, besides those of `tumour`."""
    other: int = 0
    """Slices of patients without tumour in them, patients drawn alike."""
    phantom: int = 0
    liver: int = 0
    """Slices with liver and no tumour in them."""
    nothing: int = 0
    """Slices without liver."""
    unlabelled: int = 0
    """Slices that nothing was drawn on, as `dataset.toml` names them; for a recipe with [distil]: a
    teacher alone can teach by them."""

    @property
    def size(self) -> int:
        """Slices in all."""
        return sum(self.model_dump().values())


Weight = Annotated[float, Field(ge=0)]
"""Of a member in a weighted mean, beside those of the others."""


class Member(Section):
    """One network and how long it learns."""

    network: Literal[
        "unet",
        "linknet",
        "fpn",
        "unet-dropout",
        "resunet",
        "mobilenet-unet",
        "mobilenet-linknet",
        "mobilenet-fpn",
        "dynunet",
    ]
    """`dynunet` is one in three dimensions; the others take neighbouring slices for channels."""
    cycles: tuple[Annotated[int, Field(gt=1)], ...]
    """Steps of each cycle of the learning rate, which peaks at half of the one before; their sum
    is the most that a member learns. Empty: it stays as the model of `--start` has it."""
    seed: int
    box: LiverBox | None = None
    """A second look, at the liver alone, on a finer grid; None: the whole slice on `working`."""
    way: float = Field(default=1.0, gt=0, le=1)
    """Part of the way from the weights that it started from to those that it learnt, at which it
    ends: what lies between forgets less and fits the patients less closely (arXiv:2109.01903)."""
    weights: tuple[Weight, Weight] = (1.0, 1.0)
    """For the liver and for tumours, in a weighted mean that states none of its own."""
    batch: Batch | None = None
    """The member's own; None: the recipe's."""
    loss: tuple[Loss, ...] | None = None
    """Likewise."""

    @property
    def steps(self) -> int:
        """Steps in all."""
        return sum(self.cycles)

    @property
    def name(self) -> str:
        """The network, and whether it sees a box."""
        return f"{self.network}-box" if self.box else self.network


class Recipe(Section):
    """Training configuration."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    version: str
    description: str
    remarks: str = ""
    """Remarks on the recipe for readers of its results."""
    seed: int
    """Seed of the split and of the phantoms."""
    held_out: Annotated[int, Field(ge=2)]
    """One patient in so many is never trained on."""
    split: str | None = None
    """Name of a list of patients under `splits/` who are held out, as far as the data have them, in
    place of those that `held_out` would draw. So models of different recipes can be compared."""
    validation: int = Field(default=0, ge=0)
    """Of the others, one in so many is not learnt from but steers: it stops members and
    chooses the fusion. 0: none."""
    share: float = Field(default=1.0, gt=0, le=1)
    """Part of the remaining patients that is learnt from."""
    slice_step_mm: float = Field(default=0.0, ge=0)
    """Least distance between two slices of a volume; 0 takes every slice."""
    phantoms: int
    # As `working.size`.
    crop: int = Field(multiple_of=32)
    """Rows and columns of a training slice on the working grid."""
    learning_rate: float
    """Peak of the first cycle."""
    weight_decay: float
    average: float
    """Decay of the running average of the weights, which is what is kept."""
    average_warm_up: bool = False
    """Let that decay rise to `average` as (1 + n) / (10 + n) over n steps, so that the average of a
    short run does not hold on to where it started."""
    targets: Literal["classes", "each", "cascade"] = "classes"
    """Target of a member: three classes at once; liver and tumour by a network each; or the
    liver, then the tumour on the image without what is not liver."""
    loss: tuple[Loss, ...] = (Loss(kind="cross-entropy"), Loss(kind="dice"))
    distil: Distil | None = None
    """Learning from a teacher; None: from the labels alone."""
    schedule: Schedule = Schedule()
    fusion: FusionSettings = FusionSettings()
    origin: Origin | None = None
    measured: Measured | None = None
    program: bool = True
    """Write `ensemble.pt2` beside the ONNX graph."""
    working: Working
    augmentation: Augmentation
    batch: Batch
    members: tuple[Member, ...] = Field(min_length=1)

    @property
    def fused(self) -> FusionSettings:
        """The fusion, with the weights of its members where it states none of its own."""
        if self.fusion.kind != "weighted" or self.fusion.weights:
            return self.fusion
        liver, tumour = (sum(each.weights[index] for each in self.members) for index in (0, 1))
        shares = tuple((each.weights[0] / liver, each.weights[1] / tumour) for each in self.members)
        return self.fusion.model_copy(update={"weights": shares})

    @property
    def staying(self) -> tuple[str, ...]:
        """Networks of the members that learn nothing, and are those of the model of `--start`."""
        return tuple(member.name for member in self.members if not member.cycles)

    @model_validator(mode="after")
    def _weighs_something(self) -> "Recipe":
        for index, name in enumerate(("the liver", "tumours")):
            if not any(each.weights[index] for each in self.members):
                raise ValueError(f"members.weights for {name} are all 0: set one above 0")
        return self

    @model_validator(mode="after")
    def _learns_something(self) -> "Recipe":
        if len(self.staying) == len(self.members):
            raise ValueError("members: all cycles are empty, so nobody would learn anything")
        return self

    @model_validator(mode="after")
    def _has_a_teacher_for_what_is_unlabelled(self) -> "Recipe":
        if self.batch.unlabelled and not self.distil:
            raise ValueError(
                "batch.unlabelled asks for slices that a teacher alone can teach by: add [distil] "
                "and --teacher, or set it to 0"
            )
        return self

    @model_validator(mode="after")
    def _knows_what_phase_changes(self) -> "Recipe":
        if self.augmentation.phase and self.working.neighbours:
            raise ValueError(
                "augmentation.phase changes slices by their labels, which neighbours do not have: "
                "set working.neighbours to 0, or leave augmentation.phase out"
            )
        return self

    @model_validator(mode="after")
    def _finds_livers_before_boxes(self) -> "Recipe":
        boxed = [member.network for member in self.members if member.box]
        if self.members[0].box:
            raise ValueError(
                f"{boxed[0]} has a box around the liver, which a member without one must find: "
                "name one before it"
            )
        if boxed and self.working.neighbours:
            raise ValueError(
                f"{boxed[0]} has a box around the liver of one slice, and its neighbours have "
                "boxes of their own: set working.neighbours to 0, or leave members.box out"
            )
        return self

    @model_validator(mode="after")
    def _shows_depth_to_those_who_need_it(self) -> "Recipe":
        deep = [member.network for member in self.members if member.network in IN_DEPTH]
        if deep and not self.working.neighbours:
            raise ValueError(
                f"{deep[0]} sees slices in depth, and working.neighbours is 0: set it to 1, 2 or "
                "3, or name a network in two dimensions"
            )
        return self


def of_member(recipe: Recipe, member: Member) -> Recipe:
    """Return the recipe as one of its members learns by it: with its own grid, batch and loss.

    A member with a box has no teacher, who sees other pixels.
    """
    changes: dict[str, Any] = {
        key: own for key in ("batch", "loss") if (own := getattr(member, key)) is not None
    }
    if member.box:
        batch = changes.get("batch", recipe.batch)
        changes |= {
            "working": LiverGrid(**{**dict(recipe.working), **dict(member.box)}),
            "crop": member.box.size,
            "distil": None,
            "batch": batch.model_copy(update={"unlabelled": 0}),
        }
    return recipe.model_copy(update=changes)


def load_recipe(name: str, changes: Sequence[str] = ()) -> Recipe:
    """Read a recipe that ships with the trainer by its name, or any other by its path.

    Args:
        name: a recipe's name, the path of a TOML file, or that of a model folder, for the recipe
            that it was trained by.
        changes: `key=value` each, such as `share=0.25` or `working.size=512`, values as in TOML.

    Raises:
        BadRecipe: there is no such file, or it is not a recipe.
    """
    # A dot or a slash makes it a path: names of shipped recipes have neither.
    path = RECIPES / f"{name}.toml" if "." not in name and "/" not in name else Path(name)
    try:
        table = _table(path)
        for change in changes:
            change_key(table, change)
        return Recipe.model_validate(table)
    except OSError as error:
        known = ", ".join(shipped_recipes())
        raise BadRecipe(
            f"no recipe {name!r}: name a TOML file, a model folder, or one of {known}"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise BadRecipe(f"recipe {path} is no TOML: {error}") from error
    except json.JSONDecodeError as error:
        raise BadRecipe(f"{path / MANIFEST} is no JSON: {error}") from error
    except ValidationError as error:
        raise BadRecipe(f"recipe {path.stem} cannot be used: {mistakes(error, Recipe)}") from error


def shipped_recipes() -> list[str]:
    """Return the names of the recipes that ship with the trainer."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def _table(path: Path) -> dict[str, Any]:
    """Return the table of a TOML file, or that in the manifest of a model folder."""
    if not path.is_dir():
        table = tomllib.loads(path.read_text())
        # A shipped recipe only: files that refer to files would have to agree on a folder.
        return _like(table.pop(LIKE), table) if LIKE in table else table
    manifest = json.loads((path / MANIFEST).read_text())
    # A folder of another trainer may have none: the recipe is then refused key by key.
    return dict(manifest.get("recipe", {}))


def _like(name: object, changes: dict[str, Any]) -> dict[str, Any]:
    """Return the table of a shipped recipe with the keys of another in their places."""
    if name not in shipped_recipes():
        raise BadRecipe(
            f"like = {name!r} names no recipe that ships; known: {', '.join(shipped_recipes())}"
        )
    table = tomllib.loads((RECIPES / f"{name}.toml").read_text())
    # Facts about the shipped one, which do not hold for what is made of it.
    for key in ("remarks", "origin", "measured"):
        table.pop(key, None)
    _merge(table, changes)
    return table


def _merge(table: dict[str, Any], changes: dict[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(table.get(key), dict):
            _merge(table[key], value)
        else:
            table[key] = value


def load_split(name: str) -> tuple[str, ...]:
    """Return the patients whom a split holds out.

    Raises:
        BadRecipe: there is no such split.
    """
    try:
        table = tomllib.loads((SPLITS / f"{name}.toml").read_text())
    except OSError as error:
        known = ", ".join(sorted(path.stem for path in SPLITS.glob("*.toml")))
        raise BadRecipe(f"no split {name!r}; known: {known}") from error
    return tuple(table["held_out"])
