"""Commands on plans: `hepar engine build | list | verify | activate | rollback | prune`."""

from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from engine.acceptance.gate import check_device
from engine.admin.options import DEFAULT_PLANS, ModelFolder, PlanName, PlansFolder
from engine.admin.table import plans_table, stale
from engine.devices.batch_size import checked_sizes
from engine.devices.tensorrt.build_process import Request, build_in_process, why_build
from engine.devices.tensorrt.cuda import gpus
from engine.devices.tensorrt.library import load_tensorrt
from engine.errors import EngineError, UnknownPlan, UnverifiedPlan
from engine.json_output import Json, print_json
from engine.model import load_model
from engine.plans.key import Flavour, PlanKey, Precision, slot_of
from engine.plans.plan import Plan, State
from engine.plans.store import PlanStore
from engine.shipped import model_folder

Architectures = Annotated[
    list[str] | None,
    typer.Option(
        "--architecture",
        "-a",
        help="Compute capability such as sm89; may be repeated. Default: those of this machine's "
        "GPUs.",
    ),
]


def build(
    architecture: Architectures = None,
    precision: Annotated[list[Precision] | None, typer.Option(help="May be repeated.")] = None,
    batch: Annotated[
        int,
        typer.Option(help="Largest number of slices at once; the fastest is measured at opening."),
    ] = 64,
    usual: Annotated[int, typer.Option(help="Rows and columns to optimise for.")] = 512,
    largest: Annotated[int, typer.Option(help="Largest number of rows and columns.")] = 1024,
    level: Annotated[int, typer.Option(min=0, max=5, help="Optimisation level.")] = 3,
    flavour: Annotated[Flavour | None, typer.Option(help="TensorRT to use, of two.")] = (None),
    force: Annotated[bool, typer.Option("--force", help="Build in any case.")] = False,
    model: ModelFolder = None,
    plans: PlansFolder = DEFAULT_PLANS,
    as_json: Json = False,
) -> None:
    """Build plans, in a separate process, unless there are usable ones.

    A plan serves only after `verify` and `activate`, both on a machine with such a GPU.
    """
    loaded = load_model(model_folder(model))
    library = load_tensorrt(flavour)
    store, console = PlanStore(plans), Console(soft_wrap=True, stderr=as_json)
    answers: list[dict[str, object]] = []
    for aim in architecture or sorted({gpu.architecture for gpu in gpus()}):
        for kind in precision or [Precision.FLOAT16]:
            key = _key(
                architecture=aim,
                flavour=library.flavour,
                version=library.version,
                precision=kind,
                model=loaded.digest,
                options={"batch": batch, "usual": usual, "largest": largest, "level": level},
            )
            why = why_build(store, key) or ("--force" if force else "")
            if not why:
                console.print(f"{key.name}: there is a usable plan", highlight=False)
                answers.append({"name": key.name, "built": False, "reason": ""})
                continue
            console.print(f"{key.name}: {why}", highlight=False)
            plan = _build(Request(loaded.folder, plans, key))
            size = f"{plan.manifest.size >> 20} MB in {plan.manifest.seconds:.0f} s"
            console.print(f"built {plan.name} ({size})", highlight=False)
            answers.append({"name": plan.name, "built": True, "reason": why})
    if as_json:
        print_json(answers)


def _key(**fields: Any) -> PlanKey:
    try:
        return PlanKey.model_validate(fields)
    except ValidationError as error:
        faults = [f"{fault['loc'][-1]}: {fault['msg']}" for fault in error.errors()]
        raise typer.BadParameter("; ".join(faults)) from error


def _build(request: Request) -> Plan:
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("starting", total=None)
        return build_in_process(
            request,
            lambda phase, done, of: progress.update(
                task, description=phase, completed=done, total=of
            ),
        )


def list_plans(
    model: ModelFolder = None,
    plans: PlansFolder = DEFAULT_PLANS,
    as_json: Json = False,
) -> None:
    """List plans with state, age, the gate's figures and reasons of staleness, and what serves."""
    loaded = load_model(model_folder(model))
    store, console = PlanStore(plans), Console()
    if as_json:
        print_json(_to_values(store, loaded.digest))
        return
    console.print(plans_table(store.plans(), loaded))
    for path, why in store.unreadable().items():
        console.print(f"{path} {why}; remove it", style="red", markup=False, highlight=False)
    console.print(_what_serves(store, loaded.digest), highlight=False, markup=False)


def _to_values(store: PlanStore, digest: str) -> dict[str, Any]:
    return {
        "serves": _what_serves(store, digest),
        "plans": [_plan_values(plan, digest) for plan in store.plans()],
        "unreadable": {str(path): why for path, why in store.unreadable().items()},
    }


def _plan_values(plan: Plan, digest: str) -> dict[str, Any]:
    return {
        "name": plan.name,
        "state": plan.state,
        "stale": stale(plan, digest),
        **plan.manifest.model_dump(mode="json"),
    }


def _what_serves(store: PlanStore, digest: str) -> str:
    """Return which plan serves on this machine, or why another device does."""
    try:
        here = gpus()
        for gpu in here:
            if active := store.active(slot_of(gpu.architecture, digest)):
                where = f"{gpu.name} ({gpu.architecture})"
                if reasons := stale(active, digest):
                    return (
                        f"{active.name} is active for {where} but stale ({'; '.join(reasons)}): "
                        f"{_OTHERS} `hepar engine rebuild --all --activate-when-verified`"
                    )
                return f"{where} serves with {active.name}."
    except EngineError as error:
        return f"No plan can serve here ({error}): torch or OpenVINO serves."
    named = ", ".join(f"{gpu.name} ({gpu.architecture})" for gpu in here)
    return f"No plan is active for {named}: torch or OpenVINO serves."


_OTHERS = "torch or OpenVINO serves; to replace it, run"


def verify(
    plan: PlanName,
    model: ModelFolder = None,
    plans: PlansFolder = DEFAULT_PLANS,
    as_json: Json = False,
) -> None:
    """Check a plan against the model's reference at every batch size it may use; keep the result.

    The exit status is 1 if the plan does not pass; it is kept but never serves. If the GPU runs out
    of memory, there is no result.
    """
    from engine.devices.tensorrt.plan_device import (
        open_plan,  # imported only with a plan
    )

    loaded = load_model(model_folder(model))
    store = PlanStore(plans)
    found = store.find(plan)
    device = open_plan(found, store, loaded, exact=True)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("batch sizes")
        check = check_device(
            loaded,
            device,
            checked_sizes(found.key.options.batch, 2 * loaded.neighbours + 1),
            lambda done, of: progress.update(task, completed=done, total=of),
        )
    checked = store.record_check(found, check)
    if as_json:
        print_json(_plan_values(checked, loaded.digest))
    else:
        Console().print(plans_table([checked], loaded))
    if not check.passed:
        raise UnverifiedPlan(f"{checked.name} does not pass: {'; '.join(check.faults)}")


def activate(plan: PlanName, plans: PlansFolder = DEFAULT_PLANS, as_json: Json = False) -> None:
    """Activate a verified plan; a running node uses it from its next job on."""
    _show_active(PlanStore(plans).activate(plan), as_json)


def rollback(
    architecture: Annotated[
        str | None, typer.Option("--architecture", "-a", help="Required if there are several.")
    ] = None,
    plans: PlansFolder = DEFAULT_PLANS,
    as_json: Json = False,
) -> None:
    """Reactivate the previous plan; run twice to undo."""
    store = PlanStore(plans)
    slots = [
        name
        for name, slot in store.slots().items()
        if slot.previous and name.startswith(f"{architecture}-" if architecture else "")
    ]
    if len(slots) != 1:
        raise UnknownPlan(
            f"{len(slots) or 'no'} slots have a previous plan ({', '.join(slots) or 'none'}); "
            + ("name an --architecture" if slots else "activate a plan by its name")
        )
    _show_active(store.rollback(slots[0]), as_json)


def _show_active(plan: Plan, as_json: bool) -> None:
    if as_json:
        print_json({"active": plan.name})
    else:
        Console(soft_wrap=True).print(f"active: {plan.name}", highlight=False)


def prune(
    everything: Annotated[
        bool, typer.Option("--all", help="Also those that are still usable.")
    ] = False,
    model: ModelFolder = None,
    plans: PlansFolder = DEFAULT_PLANS,
    as_json: Json = False,
) -> None:
    """Remove plans that are rejected or stale, but never an active or previous one."""
    loaded = load_model(model_folder(model))
    removed = PlanStore(plans).prune(
        lambda plan: everything or plan.state is State.REJECTED or bool(stale(plan, loaded.digest))
    )
    freed = sum(plan.manifest.size for plan in removed)
    if as_json:
        print_json({"removed": [plan.name for plan in removed], "bytes": freed})
        return
    console = Console(soft_wrap=True)
    for plan in removed:
        console.print(f"removed {plan.name}", highlight=False)
    console.print(f"{freed >> 20} MB freed", highlight=False)
