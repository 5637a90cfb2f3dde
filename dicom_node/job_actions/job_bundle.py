"""`hepar jobs bundle`: a job for a maintainer to look at, without the patient."""

import json
import platform
import re
import zipfile
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dicom_node.errors import BadConfiguration
from dicom_node.job_actions.twin import twin_uid, write_twins
from dicom_node.jobs.state import Job

HASH = re.compile(r"#[0-9a-f]{6}\b")
"""What stands for a description in the label of a stack."""


def write_bundle(job: Job, target: Path, *, pixels: bool) -> int:
    """Write a zip of the twins of a job's files and of what is stored of it; return their number.

    Raises:
        BadConfiguration: the received files were removed.
    """
    if job.holder:
        raise BadConfiguration(
            f"the received files of {job.id} lie at gateway {job.holder}, and are bundled nowhere"
            ' else; with cluster.files = "shared" any machine can'
        )
    paths = [path for path in job.paths if path.exists()]
    if not paths:
        raise BadConfiguration(
            f"the received files of {job.id} were removed; send the series again, then bundle it"
        )
    with TemporaryDirectory(prefix="hepar-") as folder:
        unreadable = write_twins(paths, Path(folder) / "series", pixels=pixels)
        (Path(folder) / "job.json").write_text(
            json.dumps({**_public(job), "unreadable": unreadable}, indent=2)
        )
        files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as bundle:
            for file in files:
                bundle.write(file, file.relative_to(folder))
    return len(paths) - len(unreadable)


def _public(job: Job) -> dict[str, Any]:
    """Return a job under the UIDs of its twin, and the versions at work."""
    reason = job.reason
    for uid in (job.series_uid, job.study_uid, *(path.stem for path in job.paths)):
        # Reasons quote UIDs, which lead back to the patient in the archive they come from.
        reason = reason.replace(uid, twin_uid(uid))
    numbers: dict[str, int] = {}
    # A hash of a description, from which one who knows the patients could guess it.
    reason = HASH.sub(lambda found: f"#{numbers.setdefault(found[0], len(numbers) + 1)}", reason)
    return {
        "job": job.id,
        "state": str(job.state),
        "reason": reason,
        "review": list(job.review),
        "series": twin_uid(job.series_uid),
        "study": twin_uid(job.study_uid),
        "slices": len(job.paths),
        "hepar": version("hepar"),
        "pydicom": version("pydicom"),
        "python": platform.python_version(),
        "system": platform.platform(),
    }
