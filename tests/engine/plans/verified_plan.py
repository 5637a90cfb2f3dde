"""A plan as an administrator makes it, for the GPU that is here."""

from pathlib import Path

from engine.acceptance.gate import check_device
from engine.devices.batch_size import checked_sizes
from engine.devices.tensorrt.build_process import Request, build_in_process
from engine.devices.tensorrt.cuda import gpus
from engine.devices.tensorrt.library import load_tensorrt
from engine.devices.tensorrt.plan_device import open_plan
from engine.model import Model
from engine.plans.key import Options, PlanKey, Precision
from engine.plans.plan import Plan
from engine.plans.store import PlanStore


def verified_plan(model: Model, plans: Path, precision: Precision, **options: int) -> Plan:
    """Build a plan and hold it against the reference, at every number of slices it may use."""
    library = load_tensorrt()
    key = PlanKey(
        architecture=gpus()[0].architecture,
        flavour=library.flavour,
        version=library.version,
        precision=precision,
        model=model.digest,
        options=Options(**options),
    )
    store = PlanStore(plans)
    plan = build_in_process(Request(model.folder, plans, key))
    device = open_plan(plan, store, model, exact=True)
    sizes = checked_sizes(key.options.batch, 2 * model.neighbours + 1)
    return store.record_check(plan, check_device(model, device, sizes))
