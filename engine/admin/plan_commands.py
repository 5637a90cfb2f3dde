"""`hepar engine build | list | verify | activate | rollback | prune`."""

from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from engine.acceptance.gate import check_device
from engine.admin.options import DEFAULT_PLANS, ModelFolder, PlanName, PlansFolder
from engine.admin.table import plans_table, stale
from engine.devices.tensorrt.build_process import Request, build_in_process, why_build
from engine.devices.tensorrt.cuda import gpus
from engine.devices.tensorrt.library import load_tensorrt
from engine.errors import EngineError, UnknownPlan, UnverifiedPlan
from engine.model import default_model_folder, load_model
from engine.plans.key import Flavour, PlanKey, Precision, slot_of
from engine.plans.plan import Plan, State
from engine.plans.store import PlanStore

Architectures = Annotated[
    list[str] | None,
    typer.Option(
        "--architecture",
        "-a",
        help="Compute capability such as sm89; may be given several times. Without it, that of "
        "the GPUs that are here.",
    ),
]


def build(
    architecture: Architectures = None,
    precision: Annotated[list[Precision] | None, typer.Option(help="May be given twice.")] = None,
    batch: Annotated[int, typer.Option(help="The most slices of one call.")] = 8,
    usual: Annotated[int, typer.Option(help="Rows and columns to be fastest at.")] = 512,
    largest: Annotated[int, typer.Option(help="The most rows and columns of a slice.")] = 1024,
    level: Annotated[int, typer.Option(min=0, max=5, help="How long to look for kernels.")] = 3,
    flavour: Annotated[Flavour | None, typer.Option(help="Which TensorRT, if there are two.")] = (
        None
    ),
    force: Annotated[bool, typer.Option("--force", help="Build also what is good.")] = False,
    model: ModelFolder = None,
    plans: PlansFolder = DEFAULT_PLANS,
) -> None:
    """Build plans for GPUs, in a process of its own; what is good already is left alone.

    A plan serves only after `verify` and `activate`, both on a machine that has such a GPU.
    """
    loaded = load_model(model or default_model_folder())
    library = load_tensorrt(flavour)
    store, console = PlanStore(plans), Console(soft_wrap=True)
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
                console.print(f"{key.name}: there is a good one", highlight=False)
                continue
            console.print(f"{key.name}: {why}", highlight=False)
            plan = _build(Request(loaded.folder, plans, key))
            said = f"{plan.manifest.size >> 20} MB in {plan.manifest.seconds:.0f} s"
            console.print(f"built {plan.name} ({said})", highlight=False)


def _key(**said: Any) -> PlanKey:
    try:
        return PlanKey.model_validate(said)
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


def list_plans(model: ModelFolder = None, plans: PlansFolder = DEFAULT_PLANS) -> None:
    """Show every plan: its state, the gate's figures, and why it is stale, if it is."""
    loaded = load_model(model or default_model_folder())
    store, console = PlanStore(plans), Console()
    console.print(plans_table(store.plans(), loaded))
    for path, why in store.unreadable().items():
        console.print(f"{path} {why}: remove it", style="red", markup=False, highlight=False)
    console.print(_who_serves(store, loaded.digest), highlight=False, markup=False)


def _who_serves(store: PlanStore, digest: str) -> str:
    try:
        here = gpus()
        for gpu in here:
            if active := store.active(slot_of(gpu.architecture, digest)):
                return f"{gpu.name} ({gpu.architecture}) is served by {active.name}."
    except EngineError as error:
        return f"Plans do not serve here: {error}"
    named = ", ".join(f"{gpu.name} ({gpu.architecture})" for gpu in here)
    return f"No plan is active for {named}: another device serves."


def verify(plan: PlanName, model: ModelFolder = None, plans: PlansFolder = DEFAULT_PLANS) -> None:
    """Hold a plan against the model's reference, at every batch size; keep the verdict.

    The exit status is 1 for a plan that does not pass. It stays in the folder and never serves.
    Where the GPU has no memory left for some batch size there is no verdict.
    """
    from engine.devices.tensorrt.plan_device import (
        open_plan,  # only who has a plan pays for the import
    )

    loaded = load_model(model or default_model_folder())
    store = PlanStore(plans)
    found = store.find(plan)
    device = open_plan(found, store, loaded, exact=True)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("batch sizes")
        check = check_device(
            loaded,
            device,
            range(1, found.key.options.batch + 1),
            lambda done, of: progress.update(task, completed=done, total=of),
        )
    judged = store.record_check(found, check)
    Console().print(plans_table([judged], loaded))
    if not check.passed:
        raise UnverifiedPlan(f"{judged.name} does not pass: {'; '.join(check.faults)}")


def activate(plan: PlanName, plans: PlansFolder = DEFAULT_PLANS) -> None:
    """Let a verified plan serve; a running node takes it up with its next job."""
    active = PlanStore(plans).activate(plan)
    Console(soft_wrap=True).print(f"active: {active.name}", highlight=False)


def rollback(
    architecture: Annotated[
        str | None, typer.Option("--architecture", "-a", help="Where several could be meant.")
    ] = None,
    plans: PlansFolder = DEFAULT_PLANS,
) -> None:
    """Let the plan serve again that did before; twice is back where it was."""
    store = PlanStore(plans)
    slots = [
        name
        for name, slot in store.slots().items()
        if slot.previous and name.startswith(f"{architecture}-" if architecture else "")
    ]
    if len(slots) != 1:
        raise UnknownPlan(
            f"{len(slots) or 'no'} plans can be gone back to ({', '.join(slots) or 'none'}): "
            + ("name an --architecture" if slots else "activate a plan by its name")
        )
    active = store.rollback(slots[0])
    Console(soft_wrap=True).print(f"active: {active.name}", highlight=False)


def prune(
    everything: Annotated[
        bool, typer.Option("--all", help="Also those that could still serve.")
    ] = False,
    model: ModelFolder = None,
    plans: PlansFolder = DEFAULT_PLANS,
) -> None:
    """Remove plans that were rejected or are stale; never the active one or the one before."""
    loaded = load_model(model or default_model_folder())
    removed = PlanStore(plans).prune(
        lambda plan: everything or plan.state is State.REJECTED or bool(stale(plan, loaded.digest))
    )
    console = Console(soft_wrap=True)
    for plan in removed:
        console.print(f"removed {plan.name}", highlight=False)
    console.print(f"{sum(plan.manifest.size for plan in removed) >> 20} MB freed", highlight=False)
