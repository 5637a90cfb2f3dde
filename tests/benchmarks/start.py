"""Time to start a node, and to build a plan ahead of time."""

import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from engine.devices.tensorrt.build_process import Request, build_in_process
from engine.devices.tensorrt.library import load_tensorrt
from engine.errors import LibraryMissing
from engine.model import default_model_folder, load_model
from engine.plans.key import Flavour, PlanKey, Precision
from tests.benchmarks.marks import Mark, at_most
from tests.system.servers import HeparNode

ARCHITECTURE = "sm89"
STARTS = 5


class Quiet(HeparNode):
    """A node that is not asked before its log says that it listens: asking takes its seconds."""

    starts = 0

    def answers(self) -> bool:
        return self.log.read_text().count(" listens on ") == self.starts and super().answers()

    def seconds_to_ready(self) -> float:
        """Start it; return seconds until it answers a C-ECHO, which it does with its device open
        and held against the reference."""
        self.starts += 1
        begun = time.perf_counter()
        with self:
            return time.perf_counter() - begun


def measure(folder: Path) -> Iterator[Mark]:
    """Start a node again and again, all but the first time with what it compiled; build plans."""
    node = Quiet(folder / "start", peers="", quiet_s=3600)
    first, *again = (node.seconds_to_ready() for _ in range(1 + STARTS))
    detail = f"({min(again):.1f} to {max(again):.1f} in {STARTS}; the first time {first:.1f})"
    yield at_most("engine: start to ready", 3, median(again), "s", detail)
    yield from _builds(folder)


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
        plan = build_in_process(Request(model.folder, folder / "plans", key)).manifest
        yield Mark(what, "", f"{plan.seconds:.1f} s, {plan.size / (1 << 20):.1f} MB", True)
