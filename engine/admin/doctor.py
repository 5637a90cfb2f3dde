"""`hepar engine doctor`: diagnosis of model, devices, plans and disk, with remedies."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from engine.acceptance.reference import check_reference
from engine.admin.options import DEFAULT_PLANS, ModelFolder, PlansFolder
from engine.admin.table import stale
from engine.devices.tensorrt.cuda import gpus
from engine.devices.tensorrt.library import load_tensorrt
from engine.errors import BrokenPlan, EngineError, LibraryMissing
from engine.json_output import Json, print_json
from engine.model import Model, load_model
from engine.phantom import make_phantom
from engine.plans.plan import State
from engine.plans.store import PlanStore
from engine.segmentation.segment import segment
from engine.serving.cpu import open_device
from engine.serving.fleet import Fleet, openers
from engine.shipped import model_folder
from engine.volume import Label

ROOM_MB = 1000
"""Space for a few plans and one more during a build."""


class Health(StrEnum):
    """Result of a check."""

    GOOD = "good"
    UNUSED = "unused"
    BAD = "bad"


COLOURS = {Health.GOOD: "green", Health.UNUSED: "dim", Health.BAD: "bold red"}


@dataclass(frozen=True)
class Finding:
    """One checked item."""

    what: str
    health: Health
    text: str
    """Observation, or fault and remedy."""


def doctor(
    model: ModelFolder = None,
    plans: PlansFolder = DEFAULT_PLANS,
    quick: Annotated[bool, typer.Option("--quick", help="Do not segment the phantom.")] = False,
    as_json: Json = False,
) -> None:
    """Check model, devices, plans and disk, and segment a phantom.

    Missing GPU libraries are no fault if no plan is active. The exit status is 1 if anything is
    bad.
    """
    with Console(stderr=as_json).status("checking …"):
        found = list(examine(model_folder(model), plans, quick=quick))
    report(found, as_json=as_json)


def report(found: Sequence[Finding], *, as_json: bool) -> None:
    """Print findings.

    Raises:
        Exit: with status 1 if anything is bad.
    """
    if as_json:
        print_json([asdict(each) for each in found])
    else:
        table = Table("", "", "", show_header=False, box=None)
        for each in found:
            table.add_row(each.what, Text(each.health, COLOURS[each.health]), Text(each.text))
        Console().print(table)
    if any(each.health is Health.BAD for each in found):
        raise typer.Exit(1)


def examine(model: Path, plans: Path, *, quick: bool = False) -> Iterator[Finding]:
    """Yield the findings one by one."""
    try:
        loaded = load_model(model)
    except EngineError as error:
        yield Finding("model", Health.BAD, str(error))
        return
    yield Finding("model", Health.GOOD, f"{loaded.name} {loaded.version}, {loaded.digest[:12]}")
    store = PlanStore(plans)
    try:
        used = plans.is_dir() and bool(store.slots())
    except BrokenPlan as error:
        yield Finding("plans", Health.BAD, str(error))
        return
    # Somebody who activated a plan expects a GPU to serve; everybody else does not need one.
    absent = Health.BAD if used else Health.UNUSED
    yield _examined("GPU", _gpu, absent)
    yield _examined("TensorRT", lambda: load_tensorrt().name, absent)
    if loaded.program is not None:
        yield _examined("torch", lambda: _torch(loaded), Health.UNUSED)
    yield from _plans(store, loaded) if plans.is_dir() else ()
    yield _disk(plans)
    yield _examined("processor", lambda: _processor(loaded))
    if not quick:
        yield _examined("phantom", lambda: _phantom(loaded, plans))


def _examined(what: str, look: Callable[[], str], absent: Health = Health.BAD) -> Finding:
    try:
        return Finding(what, Health.GOOD, look())
    except LibraryMissing as error:
        return Finding(what, absent, str(error))
    except EngineError as error:
        return Finding(what, Health.BAD, str(error))


def _gpu() -> str:
    return "; ".join(
        f"{gpu.name} ({gpu.architecture}, {gpu.memory_mb} MB), driver for CUDA {gpu.cuda}"
        for gpu in gpus()
    )


def _torch(model: Model) -> str:
    try:
        from engine.devices.torch_gpu import open_accelerator  # imported only with a program
    except (ImportError, OSError) as error:
        raise LibraryMissing(
            f"torch cannot be imported ({error}); install it to use its devices"
        ) from error
    return f"{open_accelerator(model).name}, within the reference's tolerances"


def _plans(store: PlanStore, model: Model) -> Iterator[Finding]:
    for path, why in store.unreadable().items():
        yield Finding("plan", Health.BAD, f"{path} {why}; remove it")
    serving = store.slots()
    for plan in store.plans():
        try:
            store.load(plan)
        except EngineError as error:
            yield Finding("plan", Health.BAD, str(error))
            continue
        old = stale(plan, model.digest)
        serves = any(plan.name == slot.active for slot in serving.values())
        useless = old or plan.state is State.REJECTED
        health = Health.BAD if useless and serves else Health.GOOD
        yield Finding("plan", health, "; ".join([f"{plan.name}: {plan.state}", *old]))


def _disk(plans: Path) -> Finding:
    # The folder of the plans may not exist yet; its disk is that of the nearest folder above.
    place = next(each for each in (plans.absolute(), *plans.absolute().parents) if each.exists())
    free = shutil.disk_usage(place).free >> 20
    health = Health.GOOD if free >= ROOM_MB else Health.BAD
    advice = "" if free >= ROOM_MB else f"; free {ROOM_MB} MB or more for building plans"
    return Finding("disk", health, f"{free} MB free in {place}{advice}")


def _processor(model: Model) -> str:
    device = open_device(model)
    figures = check_reference(model, device)
    return f"{device.name}, {figures.differing_pixels:.3%} of the reference's pixels differ"


def _phantom(model: Model, plans: Path) -> str:
    """Segment a phantom on the device that would serve; this does not prove accuracy."""
    # Coarse, for speed: 240 mm tall, so that the liver is whole and the search has to find it.
    made = make_phantom(shape=(40, 256, 256), spacing_mm=(6.0, 1.5, 1.5))
    device = Fleet(openers(model, plans)).device()
    result = segment(made.volume, device)
    found, true = (each.labels >= Label.LIVER for each in (result.label_map, made.truth))
    both = np.count_nonzero(found) + np.count_nonzero(true)
    dice = 2 * np.count_nonzero(found & true) / both
    return f"{device.name}, {sum(result.seconds.values()):.1f} s, liver Dice {dice:.2f}"
