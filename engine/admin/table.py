"""Table of plans, and the reasons why a plan is stale."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from rich.table import Table
from rich.text import Text

from engine.devices.tensorrt.library import load_tensorrt
from engine.errors import LibraryMissing
from engine.model import Model
from engine.plans.key import differences
from engine.plans.plan import Plan, PlanManifest, State

COLOURS = {
    State.ACTIVE: "bold green",
    State.PREVIOUS: "green",
    State.VERIFIED: "cyan",
    State.BUILT: "yellow",
    State.REJECTED: "red",
}


def plans_table(plans: Sequence[Plan], model: Model) -> Table:
    """Return plans as a table to print, with the gate's figures and reasons of staleness."""
    table = Table("Plan", "State", "Age", "Model", "MB", "Gate", expand=True)
    table.columns[0].overflow = "fold"
    for plan in plans:
        notes = Text(_figures(plan.manifest))
        for why in stale(plan, model.digest):
            notes.append(f"\nstale: {why}", "red")
        table.add_row(
            Text(plan.name),
            Text(plan.state, COLOURS[plan.state]),
            age(datetime.now(UTC) - plan.manifest.built),
            Text(plan.manifest.model),
            f"{plan.manifest.size / (1 << 20):.1f}",
            notes,
        )
    return table


def age(since: timedelta) -> str:
    """Return a duration in the largest unit that is not 0, such as `3 d`."""
    minutes = int(since.total_seconds()) // 60
    for unit, length in (("d", 24 * 60), ("h", 60)):
        if minutes >= length:
            return f"{minutes // length} {unit}"
    # Negative where the clock was set back since the build.
    return f"{max(minutes, 0)} min"


def _figures(manifest: PlanManifest) -> str:
    check = manifest.check
    if check is None:
        return "not verified yet"
    if not check.passed:
        return "; ".join(check.faults)
    dice = ", ".join(f"{name} Dice {value:.4f}" for name, value in check.dice.items())
    strays = max(check.agreement.values(), default=0.0)
    return (
        f"{dice}, {check.differing_pixels:.3%} of pixels differ, agreement off by {strays:.4f}, "
        f"batch sizes up to {check.batches[-1]}"
    )


def stale(plan: Plan, digest: str) -> list[str]:
    """Return why a plan cannot be used with a model and the installed TensorRT.

    A plan for an absent GPU is not stale: it may be meant for another machine.
    """
    here = {"model": digest}
    with suppress(LibraryMissing):  # listing plans must work without TensorRT
        here["version"] = load_tensorrt(plan.key.flavour).version
    return differences(plan.key, plan.key.model_copy(update=here))
