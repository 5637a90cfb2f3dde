"""`hepar train compare`: runs side by side, what differs in their recipes and what they came to."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from trainer.errors import BadModel
from trainer.recipe.recipe import MANIFEST
from trainer.training.loop import LAST, WEIGHTS
from trainer.training.resume.begun import BEGUN, flat
from trainer.training.resume.checkpoint_files import saved_epochs

MODEL = "model"
"""Folder of a run that its model is written to unless it is named otherwise."""


@dataclass(frozen=True)
class Ended:
    """One run, as its folder states it."""

    name: str
    keys: Mapping[str, Any]
    """The recipe's keys, flat; the models it started from, and the sizes of its data."""
    evaluation: Mapping[str, Any]
    """Figures of the held-out patients; empty where the run has not ended."""
    saved: str
    """How far each member is, where the run has not ended."""


def read_run(folder: Path) -> Ended:
    """Return what a run, or a model folder, states of itself.

    Raises:
        BadModel: the folder holds neither.
    """
    begun = _json(folder / BEGUN)
    manifest = _json(folder / MODEL / MANIFEST) or _json(folder / MANIFEST)
    if not begun and not manifest:
        raise BadModel(
            f"{folder} holds neither a run nor a model: name the folder that --run named, such as "
            "runs/bluenet, or a model folder"
        )
    recipe = begun.get("recipe") or dict(flat(manifest.get("recipe", {})))
    data = dict(flat(begun.get("data", {}), "data."))
    keys = {**recipe, **begun.get("others", {}), **data}
    saved = ", ".join(_saved(each) for each in sorted(folder.glob("[0-9]*-*")))
    return Ended(str(folder), keys, manifest.get("evaluation", {}), saved)


def differences(runs: Sequence[Ended]) -> Iterator[tuple[str, list[str]]]:
    """Yield each key that is not the same in all runs, and its value in each."""
    every = dict.fromkeys(key for run in runs for key in run.keys)
    for key in sorted(every):
        values = ["-" if key not in run.keys else json.dumps(run.keys[key]) for run in runs]
        if len(set(values)) > 1:
            yield key, values


def figures(runs: Sequence[Ended]) -> Iterator[tuple[str, list[str]]]:
    """Yield each figure of the held-out patients by its name, and its value in each run."""
    yield "held-out patients", [_held_out(run) for run in runs]
    yield "fusion", [str(run.evaluation.get("fusion", "-")) for run in runs]
    for kind in ("pooled_dice", "mean_dice"):
        for structure in ("liver", "tumour"):
            name = f"{structure}, {kind.removesuffix('_dice')} Dice"
            yield name, [_dice(run, kind, structure) for run in runs]


def compare_runs(folders: Sequence[Path], console: Console) -> None:
    """Print what differs between runs, and their figures side by side."""
    runs = [read_run(folder) for folder in folders]
    table = Table("", *(escape(run.name) for run in runs))
    for key, values in differences(runs):
        table.add_row(Text(key), *map(Text, values))
    table.add_section()
    for name, values in figures(runs):
        table.add_row(name, *values)
    console.print(table)
    judged = [set(run.evaluation.get("held_out_patients", ())) for run in runs]
    if any(each != judged[0] for each in judged):
        console.print(
            "The figures are of different patients: `hepar evaluate` with --model once for each "
            "judges all models on the patients that none of them has seen."
        )
    for run in runs:
        if not run.evaluation:
            text = f"{run.name} has not ended: {run.saved or 'no epoch saved yet'}"
            console.print(text, markup=False)


def runs_as_json(folders: Sequence[Path]) -> dict[str, Any]:
    """Return what differs between runs, and their evaluations; empty where one has not ended."""
    runs = [read_run(folder) for folder in folders]
    apart = [key for key, _ in differences(runs)]
    return {
        run.name: {
            "differs": {key: run.keys.get(key) for key in apart},
            "evaluation": dict(run.evaluation),
            "saved": run.saved,
        }
        for run in runs
    }


def _saved(member: Path) -> str:
    if (member / WEIGHTS).is_file():
        return f"{member.name} is done"
    return f"{member.name} is saved at epoch {saved_epochs(member / f'{LAST}.ckpt')}"


def _held_out(run: Ended) -> str:
    patients = run.evaluation.get("held_out_patients")
    if patients is None:
        return "-"
    return f"{len(patients)}, {run.evaluation.get('tumour_patients', '?')} with tumours"


def _dice(run: Ended, kind: str, structure: str) -> str:
    by_fusion = run.evaluation.get(kind, {})
    chosen = by_fusion.get(run.evaluation.get("fusion"), {})
    value = chosen.get(structure)
    return "-" if value is None or value != value else f"{value:.3f}"


def _json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text()))
    except OSError:
        return {}
    except ValueError as error:
        raise BadModel(f"{path} is no JSON: {error}") from error
