"""Series that a person asked for, though the node has a job on them already.

A series that is sent again is no new work: routers and archives repeat themselves. Orthanc's button
"Segment liver" therefore calls under an AE title of its own, which the receiver stores with each
instance.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info

from dicom_node.attributes import UNREADABLE
from dicom_node.jobs.state import Job

ASKED = "HEPAR_AGAIN"
"""Calling AE title of a sender that asks for a series to be done, whatever was done before."""


def is_asked_for(paths: Sequence[Path]) -> bool:
    """Return whether the instances of a series were last sent because a person asked for it."""
    try:
        # One stands for all: the button sends a whole series.
        meta = read_file_meta_info(paths[0])
    except (OSError, InvalidDicomError, *UNREADABLE):
        return False
    return str(meta.get("SendingApplicationEntityTitle") or "").strip() == ASKED


def asked_after(job: Job, paths: Sequence[Path]) -> bool:
    """Return whether the instances arrived after the job had ended.

    The mark stays on them, and a node that starts offers all that it keeps once more.
    """
    arrived = max(path.stat().st_mtime for path in paths)
    return job.finished is not None and datetime.fromtimestamp(arrived, UTC) > job.finished
