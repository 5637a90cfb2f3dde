"""What an administrator waits for: a node that starts, and a plan that is built ahead of time."""

import time
from collections.abc import Iterator
from pathlib import Path

from engine.devices.tensorrt_library import load_tensorrt
from engine.errors import LibraryMissing
from engine.model import default_model_folder, load_model
from engine.plans.build import Request, build_apart
from engine.plans.key import Flavour, PlanKey, Precision
from tests.benchmarks.marks import Mark, at_most
from tests.system.servers import HeparNode

ARCHITECTURE = "sm89"


def measure(folder: Path) -> Iterator[Mark]:
    """Start a node twice, the second time with what the first one compiled; build two plans."""
    node = HeparNode(folder / "start", peers="", quiet_s=3600)
    first, again = (_seconds_to_ready(node) for _ in range(2))
    yield at_most("engine: start to ready", 3, again, "s", f"(the first time {first:.1f} s)")
    yield from _builds(folder)


def _seconds_to_ready(node: HeparNode) -> float:
    """Return seconds from the process's start until it answers a C-ECHO."""
    begun = time.perf_counter()
    with node:
        return time.perf_counter() - begun


def _builds(folder: Path) -> Iterator[Mark]:
    """Say seconds and size; there is no mark for them."""
    model = load_model(default_model_folder())
    for precision in Precision:
        what = f"engine: {ARCHITECTURE} plan in {precision}, ahead of time"
        try:
            library = load_tensorrt(Flavour.RTX)
        except LibraryMissing as error:
            yield Mark(what, "", str(error), None)
            continue
        key = PlanKey(
            architecture=ARCHITECTURE,
            flavour=library.flavour,
            version=library.version,
            precision=precision,
            model=model.digest,
        )
        plan = build_apart(Request(model.folder, folder / "plans", key)).manifest
        yield Mark(what, "", f"{plan.seconds:.1f} s, {plan.size / (1 << 20):.1f} MB", True)
