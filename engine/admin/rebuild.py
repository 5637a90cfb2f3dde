"""`hepar engine rebuild`: replace plans that an upgrade of driver, TensorRT or model made stale."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from engine.acceptance.gate import check_device
from engine.admin.options import DEFAULT_PLANS, ModelFolder, PlansFolder
from engine.devices.batch_size import checked_sizes
from engine.devices.tensorrt.build_process import Request, build_in_process, why_build
from engine.devices.tensorrt.cuda import gpus
from engine.devices.tensorrt.library import Library, load_tensorrt
from engine.errors import EngineError
from engine.model import Model, load_model
from engine.plans.key import Flavour, Options, PlanKey, Precision, slot_of
from engine.plans.plan import Plan, State
from engine.plans.store import PlanStore
from engine.shipped import model_folder

Build = Callable[[Request], Plan]


class Status(StrEnum):
    """Result for one GPU architecture."""

    CURRENT = "current"
    ACTIVATED = "activated"
    VERIFIED = "verified"
    REJECTED = "rejected"
    FAILED = "failed"


@dataclass(frozen=True)
class Rebuilt:
    """Record of one GPU architecture in the JSON report."""

    architecture: str
    status: Status
    plan: str | None = None
    """Plan that is current, active, verified or rejected."""
    previous: str | None = None
    """Plan that was active before, kept for `hepar engine rollback`."""
    reason: str = ""
    """Why a plan had to be built, or why it failed."""

    @property
    def good(self) -> bool:
        """Whether there is a plan that serves or may be activated."""
        return self.status not in (Status.REJECTED, Status.FAILED)


def rebuild(
    architecture: Annotated[
        list[str] | None,
        typer.Option("--architecture", "-a", help="Only this GPU architecture; may be repeated."),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All GPU architectures of this machine.")
    ] = False,
    activate: Annotated[
        bool,
        typer.Option(
            "--activate-when-verified",
            help="Activate each plan that passes; the one before stays for rollback.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    flavour: Annotated[Flavour | None, typer.Option(help="TensorRT to use, of two.")] = None,
    model: ModelFolder = None,
    plans: PlansFolder = DEFAULT_PLANS,
) -> None:
    """Build, verify and activate plans where the current ones are stale.

    Run it after an upgrade of driver, TensorRT or model, or at boot: where every plan is current it
    does nothing. Precision and options are those of the newest plan of the same architecture. The
    exit status is 0 if every architecture has a good plan, 1 otherwise; a running node serves on
    the old plan, or on another device, until the switch.
    """
    # Both, or neither.
    if everything == bool(architecture):
        raise typer.BadParameter("give either --all or --architecture")
    found: list[Rebuilt] = []
    error = ""
    try:
        loaded = load_model(model_folder(model))
        library = load_tensorrt(flavour)
        here = sorted({gpu.architecture for gpu in gpus()})
        for each in rebuilt(
            loaded, library, plans, architecture or here, activate=activate, build=build_in_process
        ):
            found.append(each)
            if not as_json:
                _show(each)
    except EngineError as failure:  # nothing could be tried
        error = str(failure)
        if not as_json:
            raise
    if as_json:
        typer.echo(json.dumps({"plans": [asdict(each) for each in found], "error": error}))
    if error or not all(each.good for each in found):
        raise typer.Exit(1)


def rebuilt(
    model: Model,
    library: Library,
    plans: Path,
    architectures: list[str],
    *,
    activate: bool,
    build: Build,
) -> Iterator[Rebuilt]:
    """Yield the result for each architecture; an error of one does not stop the others."""
    store = PlanStore(plans)
    for architecture in architectures:
        try:
            yield _rebuilt(model, library, store, architecture, activate, build)
        except EngineError as error:
            # Reported as a row: at boot the other GPUs of the machine must still get their plans.
            yield Rebuilt(architecture, Status.FAILED, reason=str(error))


def _rebuilt(
    model: Model,
    library: Library,
    store: PlanStore,
    architecture: str,
    activate: bool,
    build: Build,
) -> Rebuilt:
    key = wanted_key(store, architecture, library, model.digest)
    slot = store.slots().get(slot_of(architecture, model.digest))
    # Read before anything changes: afterwards the active one is the new one.
    previous = slot.active if slot else None
    reason = why_build(store, key)
    # Also found where it was built earlier but the check did not get a verdict.
    plan = store.of_key(key)
    if plan is None:
        plan = build(Request(model.folder, store.folder, key))
    if plan.manifest.check is None:
        plan = _verified(model, store, plan)
    if plan.state is State.REJECTED:
        check = plan.manifest.check
        faults = "; ".join(check.faults) if check else ""
        return Rebuilt(architecture, Status.REJECTED, plan.name, previous, faults)
    if plan.state is State.ACTIVE:
        return Rebuilt(architecture, Status.CURRENT, plan.name, slot.previous if slot else None)
    if not activate:
        return Rebuilt(architecture, Status.VERIFIED, plan.name, previous, reason)
    store.activate(plan.name)
    return Rebuilt(architecture, Status.ACTIVATED, plan.name, previous, reason)


def wanted_key(store: PlanStore, architecture: str, library: Library, model: str) -> PlanKey:
    """Return the key of a current plan, with the precision and options of the newest good one."""
    alike = [
        plan
        for plan in store.plans()
        if plan.key.architecture == architecture and plan.state is not State.REJECTED
    ]
    # `plans()` has the oldest first, so [-1] below is the newest.
    active = [plan for plan in alike if plan.state is State.ACTIVE] or alike
    return PlanKey(
        architecture=architecture,
        flavour=library.flavour,
        version=library.version,
        precision=active[-1].key.precision if active else Precision.FLOAT16,
        model=model,
        options=active[-1].key.options if active else Options(),
    )


def _verified(model: Model, store: PlanStore, plan: Plan) -> Plan:
    """Check a plan against the reference at every batch size it may use; record the result."""
    from engine.devices.tensorrt.plan_device import open_plan  # imported only with a GPU

    device = open_plan(plan, store, model, exact=True)
    batches = checked_sizes(plan.key.options.batch, 2 * model.neighbours + 1)
    return store.record_check(plan, check_device(model, device, batches))


def _show(each: Rebuilt) -> None:
    parts = [f"{each.architecture}: {each.status}", each.plan or "", each.reason]
    if each.previous:
        parts.append(f"before: {each.previous}")
    Console(soft_wrap=True).print("; ".join(filter(None, parts)), highlight=False, markup=False)
