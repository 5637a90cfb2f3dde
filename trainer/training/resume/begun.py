"""Beginning of a run: its folder holds checkpoints of one recipe and one set of patients."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.durable_files import write_durably
from trainer.datasets.cases.slices import Slices
from trainer.errors import OtherRun
from trainer.recipe.recipe import Recipe
from trainer.training.resume.checkpoint_files import MODE

BEGUN = "begun.json"
"""In the run's folder, from before the first step on."""

NOT_LEARNT = frozenset(
    {
        *("name", "version", "description", "remarks", "origin", "measured"),
        *("fusion", "program", "split"),
    }
)
"""Keys of a recipe that change no member's weights; the patients of a split are compared."""


@dataclass(frozen=True)
class Begun:
    """All that decides which weights a run ends with."""

    recipe: Mapping[str, Any]
    """The keys that members learn by, flat, such as `working.size`."""
    others: Mapping[str, str]
    """The models that `--start` and `--teacher` name, by their options."""
    data: Mapping[str, Any]
    """Slices, and pixels of liver and tumour, of those who are learnt from and who steer."""


def begun(recipe: Recipe, others: Mapping[str, str], train: Slices, validation: Slices) -> Begun:
    """Return what a run is begun with."""
    learnt = recipe.model_dump(mode="json", exclude=set(NOT_LEARNT))
    data = {"train": _sums(train), "validation": _sums(validation)}
    return Begun(dict(flat(learnt)), dict(others), data)


def require_same_run(folder: Path, now: Begun) -> None:
    """Note what a run is begun with, or compare it with what the folder was begun with.

    Raises:
        OtherRun: that was another recipe, another model to start from, or other data, or it
            cannot be read.
    """
    noted = folder / BEGUN
    if not noted.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        content = {"recipe": now.recipe, "others": now.others, "data": now.data}
        write_durably(noted, (json.dumps(content, indent=2) + "\n").encode(), mode=MODE)
        return
    before = _read(noted)
    if differences := [*_changes(before, now)]:
        shown = "; ".join(differences[:4]) + ("; …" if len(differences) > 4 else "")
        raise OtherRun(
            f"{folder} holds a run that was begun otherwise: {shown}. Repeat the command that "
            "began it to go on, or name another folder with --run"
        )


def _read(noted: Path) -> Begun:
    try:
        before = Begun(**json.loads(noted.read_text()))
        if not all(isinstance(each, dict) for each in (before.recipe, before.others, before.data)):
            raise TypeError
    except (ValueError, TypeError) as error:
        raise OtherRun(
            f"{noted} is damaged, so it is unknown what the run was begun with: name another "
            f"folder with --run, or remove {noted.parent} to begin anew"
        ) from error
    return before


def _changes(before: Begun, now: Begun) -> Iterator[str]:
    for one, other in ((before.recipe, now.recipe), (before.others, now.others)):
        for key in sorted(one.keys() | other.keys()):
            if one.get(key) != other.get(key):
                yield f"{key} was {_as_json(one.get(key))} and is {_as_json(other.get(key))}"
    for part in sorted(now.data):
        one, other = before.data.get(part, {}), now.data[part]
        if one != other:
            yield f"the {part} data were {_listed(one)} and are {_listed(other)}"


def _as_json(value: Any) -> str:
    return "absent" if value is None else json.dumps(value)


def _listed(sums: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sums.items())


def _sums(slices: Slices) -> dict[str, int]:
    """Return sums that change with any patient, slice or label; no name is among them."""
    return {
        "patients": len(set(slices.patient)),
        "slices": len(slices),
        "pixels of liver": int(slices.liver_pixels.sum()),
        "pixels of tumour": int(slices.tumour_pixels.sum()),
    }


def flat(table: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of nested tables by keys such as `working.size`."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from flat(value, f"{before}{key}.")
        elif isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
            for index, each in enumerate(value):
                yield from flat(each, f"{before}{key}.{index}.")
        else:
            yield f"{before}{key}", value
