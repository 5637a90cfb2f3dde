"""Demonstration: start a node, send a series to it, return the finished job."""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread

from dicom_node.config.settings import Settings
from dicom_node.deliver.c_store_scu import StorePeer
from dicom_node.jobs.ledger import Ledger, open_ledger
from dicom_node.jobs.state import Job
from dicom_node.node.node import running_node

QUIET_S = 2.0
"""Ends the wait where a folder holds an instance twice, so that fewer arrive than are announced."""
POLL_S = 0.1

Report = Callable[[str, int, int], None]
"""Called with a stage, the part of it that is done, and the whole."""


@dataclass(frozen=True)
class Demonstration:
    """The job of the series that was sent."""

    job: Job
    seconds: dict[str, float]
    """Wall-clock seconds of each stage, in order."""


def demonstrate(
    paths: Sequence[Path], output: Path, report: Report, *, model: Path | None = None
) -> Demonstration:
    """Send the instances to a node that runs for this call; the SEG is delivered to `output`.

    Raises:
        NodeError, EngineError: the node could not start, or did not take an instance.
    """
    with tempfile.TemporaryDirectory(prefix="hepar-demo-") as data:
        settings = _settings(Path(data), output, model)
        with running_node(
            settings, progress=lambda job, done, of: report("segment", done, of)
        ) as node:
            host, port = node.address
            # Before anything is sent: a short series would otherwise wait for its quiet time.
            node.expect(_series_uid(paths[0]), len(paths))
            begun = time.time()
            StorePeer("demo", node.ae_title, host, port).send_many(
                paths, lambda sent: report("send", sent, len(paths))
            )
            sent = time.time()
            with open_ledger(settings.database_url) as ledger:
                job = _finished(ledger)
    return Demonstration(job, {"receive": sent - begun, **_seconds(job, sent)})


def _series_uid(path: Path) -> str:
    return str(dcmread(path, specific_tags=["SeriesInstanceUID"]).get("SeriesInstanceUID", ""))


def _settings(data: Path, output: Path, model: Path | None) -> Settings:
    """Return the defaults, with a free port and `output` as destination."""
    return Settings.model_validate(
        {
            "node": {"data": data, "port": 0},
            # 0: a demonstration keeps nothing, so it may run on a nearly full disk.
            "receive": {"quiet_s": QUIET_S, "keep_free_mb": 0},
            "engine": {"model": model},
            "peers": {"folder": {"kind": "folder", "folder": output}},
        }
    )


def _finished(ledger: Ledger) -> Job:
    """Wait until the only job has ended."""
    while True:
        for job in ledger.jobs():
            if not job.state.active:
                return job
        time.sleep(POLL_S)


def _seconds(job: Job, sent: float) -> dict[str, float]:
    """Return the seconds of each stage after the sending."""
    computed = dict(job.outcome.seconds) if job.outcome else {}
    quiet = max(0.0, job.created.timestamp() - sent)
    return {"quiet": quiet, **computed, "deliver": sum(each.seconds for each in job.deliveries)}
