"""Archive, node and viewer together: how soon they are ready, what the way adds to the engine."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from deploy.stack.places import Ports
from deploy.stack.stack import Stack, running_stack
from dicom_node.jobs.ledger import open_ledger
from tests.benchmarks.marks import Mark, at_most
from tests.conftest import SHARED
from tests.system.segmented import Segmented, missing_for_the_browser, upload

CHAOS3 = SHARED / "ct" / "chaos3" / "dicom"
ENGINE = ("search", "compute", "clean")
"""Stages that are the engine's own."""
STABLE_S = 5
RESULTS = {"SEG", "SR"}


def measure(folder: Path) -> Iterator[Mark]:
    """Start the stack, send CHAOS set 3 through it, and run the tests in the browser."""
    if reason := missing_for_the_browser():
        yield Mark("archive, node and viewer", "", reason, None)
        return
    with running_stack(folder / "stack", Ports.free(), stable_s=STABLE_S) as stack:
        yield at_most("make stack: ready", 15, stack.seconds, "s")
        yield _way(stack, folder)
    yield _tests()


def _way(stack: Stack, folder: Path) -> Mark:
    what = "Orthanc to SEG and report in Orthanc, CHAOS set 3, less stable age and engine"
    if not CHAOS3.is_dir():
        return Mark(what, "3 s or less", f"{CHAOS3} is absent", None)
    files = [each.read_bytes() for each in sorted(CHAOS3.glob("*.dcm"))]
    for file in files:
        kept = upload(stack, file)
    last = time.perf_counter()
    archive = Segmented(stack, kept["ParentStudy"], {}, ())
    while not archive.get(f"series/{kept['ParentSeries']}")["IsStable"]:
        time.sleep(0.05)
    late = time.perf_counter() - last - STABLE_S
    while not archive.modalities() >= RESULTS:
        time.sleep(0.05)
    waited = time.perf_counter() - last
    stages = _stages(folder / "stack")
    engine = sum(stages[stage] for stage in ENGINE)
    others = ", ".join(f"{k} {s:.2f}" for k, s in stages.items() if k not in ENGINE)
    overhead = waited - STABLE_S - engine
    detail = f"(Orthanc calls it stable {late:.2f} s late; engine {engine:.1f} s; {others})"
    return at_most(what, 3, overhead, "s", detail)


def _stages(folder: Path) -> dict[str, float]:
    """Seconds of every stage of the node's only job."""
    with open_ledger(f"sqlite:///{folder / 'node' / 'jobs.sqlite'}") as ledger:
        (job,) = ledger.jobs()
    assert job.outcome is not None
    return dict(job.outcome.seconds)


def _tests() -> Mark:
    begun = time.perf_counter()
    command = [sys.executable, "-m", "pytest", "-q", "tests/system/test_stack.py"]
    subprocess.run(command, check=True, capture_output=True)
    return at_most("tests in the browser, whole", 60, time.perf_counter() - begun, "s")
