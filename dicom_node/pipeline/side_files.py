"""Files beside a result that are no DICOM objects: a picture, and the figures as JSON and CSV."""

import json
from collections.abc import Collection, Mapping
from enum import StrEnum
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from dicom_node.corrections.kept_labels import SUFFIX as KEPT_SUFFIX
from dicom_node.corrections.kept_labels import KeptLabels, write_kept_labels
from dicom_node.nifti.series_labels import encode_series_labels, is_even
from dicom_node.pipeline.findings import Findings
from dicom_node.pipeline.scan_file import SUFFIX, write_scan
from dicom_node.results.attributes.segment_description import Algorithm
from dicom_node.results.montage import note
from engine.durable_files import write_durably
from engine.findings.contours import with_note
from engine.findings.tabulate import to_csv, to_values
from engine.volume import LabelMap, Volume


class SideFile(StrEnum):
    """A kind of file beside a result."""

    PREVIEW = "preview"
    """PNG with contours over a few slices."""
    STATISTICS = "statistics"
    """Volumes, diameters and densities as JSON and CSV."""
    LABELS = "labels"
    """Labels of an even series as NIfTI."""
    SCAN = "scan"
    """Slices and labels, to scroll through."""
    KEPT = "kept"
    """Labels without the patient, for corrections that come once the rest is removed."""


def write_side_files(
    kinds: Collection[SideFile], target: Path, found: Findings, algorithm: Algorithm
) -> None:
    """Write the files asked for beside `target`: its name with .png, .json, .csv and .nii.gz."""
    labels = found.made.label_map
    if SideFile.LABELS in kinds and is_even(labels):
        write_durably(beside(target, ".nii.gz"), encode_series_labels(labels))
    if SideFile.PREVIEW in kinds and found.picture is not None:
        write_durably(beside(target, ".png"), _png(found.picture, algorithm))
    if SideFile.STATISTICS in kinds:
        text = json.dumps(_statistics(found, algorithm), indent=2)
        write_durably(beside(target, ".json"), f"{text}\n".encode())
        write_durably(beside(target, ".csv"), to_csv(found.measured, found.certainty).encode())


def write_scan_file(
    kinds: Collection[SideFile], target: Path, volume: Volume, labels: LabelMap
) -> None:
    """Write slices and labels beside `target`, if that is asked for."""
    if SideFile.SCAN in kinds:
        write_scan(beside(target, SUFFIX), volume, labels)


def write_kept(kinds: Collection[SideFile], target: Path, kept: KeptLabels) -> None:
    """Write what is kept of a result for corrections beside `target`, if that is asked for."""
    if SideFile.KEPT in kinds:
        write_kept_labels(beside(target, KEPT_SUFFIX), kept)


def beside(target: Path, suffix: str) -> Path:
    """Return the file's name with another suffix; UIDs hold dots, so only the known ones go."""
    return target.with_name(target.name.removesuffix(".nii.gz").removesuffix(".dcm") + suffix)


def _png(picture: Image.Image, algorithm: Algorithm) -> bytes:
    png = BytesIO()
    with_note(picture, note(algorithm)).save(png, "PNG")
    return png.getvalue()


def _statistics(found: Findings, algorithm: Algorithm) -> Mapping[str, Any]:
    geometry = found.made.label_map.geometry
    return {
        "model": {"name": algorithm.name, "version": algorithm.version, "digest": algorithm.digest},
        "device": algorithm.device,
        "slices": geometry.shape[0],
        "spacing_mm": [round(each, 4) for each in geometry.spacing],
        "agreement": {
            label.name.lower(): round(part, 4) for label, part in found.made.agreement.items()
        },
        **to_values(found.measured, found.quality, found.certainty),
        "note": "For research only, not for diagnosis; not reviewed.",
    }
