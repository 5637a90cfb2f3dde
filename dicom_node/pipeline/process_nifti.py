"""Process one NIfTI file: read, segment, write labels on its grid."""

import logging
from dataclasses import replace
from pathlib import Path

from dicom_node.errors import UnsupportedSeries
from dicom_node.logs import step
from dicom_node.nifti.image import NiftiScan, read_nifti, write_labels
from dicom_node.pipeline.findings import Findings, Progress, find
from dicom_node.pipeline.outcome import Outcome, Verdict, figures_of
from dicom_node.pipeline.plausible_units import require_hounsfield
from dicom_node.pipeline.segmenter import SegmentationSetup
from dicom_node.pipeline.side_files import SideFile, write_scan_file, write_side_files
from engine.durable_files import write_durably
from engine.findings.summary import summarize

logger = logging.getLogger(__name__)

NO_SERIES = "nifti"
"""In place of a Series Instance UID in the log: a file's name may be a patient's."""


def process_nifti(
    path: Path, target: Path, method: SegmentationSetup, progress: Progress | None = None
) -> Outcome:
    """Segment a NIfTI file; its labels appear as `target`, a .nii.gz on the same grid.

    Raises:
        UnsupportedSeries: it is no volume of Hounsfield units, and the message says why.
        EngineError: there are no labels, and the message says why.
    """
    seconds: dict[str, float] = {}
    with step(logger, "read", NO_SERIES, seconds):
        scan = _read(path)
    found = find(
        scan.volume,
        method.device,
        series=NO_SERIES,
        progress=progress,
        seconds=seconds,
        pictured=SideFile.PREVIEW in method.beside,
        members=method.members,
        domain=method.domain,
        calibration=method.calibration,
    )
    if not found.measured.liver_ml:
        reason = "no liver was found"
        return Outcome(Verdict.NOTHING_FOUND, reason, slices=len(scan.volume.hu), seconds=seconds)
    with step(logger, "write", NO_SERIES, seconds):
        _write(scan, found, target, method)
    summary = summarize(found.measured, found.made.label_map, certainty=found.certainty)
    return replace(figures_of(found.made, found.quality, seconds), seg=target, summary=summary)


def _read(path: Path) -> NiftiScan:
    scan = read_nifti(path)
    try:
        require_hounsfield(scan.volume)
    except UnsupportedSeries as error:
        raise UnsupportedSeries(f"{path.name}: {error}") from error
    return scan


def _write(scan: NiftiScan, found: Findings, target: Path, method: SegmentationSetup) -> None:
    write_durably(target, write_labels(found.made.label_map, scan))
    write_scan_file(method.beside, target, scan.volume, found.made.label_map)
    others = method.beside - {SideFile.LABELS}  # which `target` holds
    write_side_files(others, target, found, method.algorithm)
