"""From the last slice to the SEG in the archive: what the node adds to the ensemble's computing."""

import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from dicom_node.jobs.ledger import open_ledger
from tests.benchmarks.marks import Mark, at_most
from tests.benchmarks.phantoms import phantom_files
from tests.system.servers import HeparNode, Orthanc, storescu
from tests.waiting import wait_until

QUIET_S = 2.0
ENSEMBLE = ("search", "compute")
"""Stages that are the ensemble's own computing."""


def measure(folder: Path) -> Iterator[Mark]:
    """Run 300 slices for the overhead and 600 for the memory, each through a node of its own."""
    waited, stages, _ = _through_the_node(folder, 300)
    ensemble = sum(stages[stage] for stage in ENSEMBLE)
    overhead = waited - QUIET_S - ensemble
    others = ", ".join(f"{k} {s:.2f}" for k, s in stages.items() if k not in ENSEMBLE)
    yield at_most(
        "overhead, 512x512x300", 2, overhead, "s", f"(ensemble {ensemble:.1f} s; {others})"
    )
    _, _, peak_gb = _through_the_node(folder, 600)
    yield at_most("peak memory, 512x512x600", 3, peak_gb, "GB")


def _through_the_node(folder: Path, slices: int) -> tuple[float, Mapping[str, float], float]:
    """Return seconds from last slice to archive, seconds by stage, and the node's peak in GB."""
    files = phantom_files(folder, slices)
    with (
        Orthanc(folder / f"archive{slices}") as archive,
        HeparNode(folder / f"through{slices}", archive.peer("store"), quiet_s=QUIET_S) as node,
    ):
        storescu(node.port, files, called="HEPAR")
        sent = time.perf_counter()
        wait_until(archive.segmentations, 900, "a SEG in the archive")
        waited = time.perf_counter() - sent
        assert node.process is not None
        return waited, _stages(node), _peak_gb(node.process.pid)


def _stages(node: HeparNode) -> Mapping[str, float]:
    """Seconds of every stage of the node's only job."""
    with open_ledger(f"sqlite:///{node.data / 'jobs.sqlite'}") as ledger:
        (job,) = ledger.jobs()
    assert job.outcome is not None
    return {**job.outcome.seconds, "deliver": sum(each.seconds for each in job.deliveries)}


def _peak_gb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    (kilobytes,) = re.findall(r"VmHWM:\s+(\d+) kB", status)
    return int(kilobytes) / 1e6
