"""One DICOM series and its reference labels."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dicom_node.series import UnsupportedSeries, read_series, to_volume
from engine.volume import Geometry, Label, Volume
from trainer.datasets.cases.case import Case
from trainer.datasets.cases.target import Target
from trainer.datasets.layouts.nifti import to_labels
from trainer.datasets.layouts.nifti_image import (
    TOLERANCE_MM,
    affine_of,
    offset_mm,
    read_image,
)
from trainer.errors import BadData
from trainer.evaluation.run.seg_objects import read_seg

IMAGES = {"dicom", "dicom_anon"}
"""Folder names that do not identify a patient."""


def read_reference(series: Path, truth: Path) -> Case:
    """Read a folder of one series, and a NIfTI file or SEG object of its liver and tumours.

    A truth without tumour leaves tumours unknown.

    Args:
        series: folder of the series' instances.
        truth: NIfTI with 1 for the liver and 2 for tumour, or a SEG object.

    Raises:
        BadData: the series is no volume, the truth is none, or it lies elsewhere.
    """
    volume, uid = read_images(series)
    labels = _read(truth, volume.geometry)
    if not np.any(labels == Label.TUMOUR):
        # 1 becomes 3; there is no 2 here.
        labels = labels * np.uint8(Target.LIVER_OR_TUMOUR)
    return Case(_name(series), "series", uid, volume, labels)


def read_images(series: Path) -> tuple[Volume, str]:
    """Return the volume of the CT instances in a folder, and the UID of their series.

    What was derived from them, such as a SEG, may lie beside them.

    Raises:
        BadData: there are none, or they form no volume.
    """
    files = sorted(path for path in series.iterdir() if path.is_file())
    try:
        instances = read_series(files, derive_frame_of_reference=True)
        images = [each for each in instances if each.get("Modality") == "CT"]
        if not images:
            raise BadData(f"no CT instance in {series}: name the folder of one CT series")
        return to_volume(images), str(images[0].SeriesInstanceUID)
    except UnsupportedSeries as error:
        raise BadData(f"{series}: {error}") from error


def without_tumours(case: Case) -> Case:
    """Return a case that is known to hold no tumour."""
    liver = np.where(case.target == Target.LIVER_OR_TUMOUR, np.uint8(Target.LIVER), case.target)
    return replace(case, target=liver)


def _read(truth: Path, grid: Geometry) -> NDArray[np.uint8]:
    if not truth.name.endswith((".nii", ".nii.gz")):
        return read_seg(truth, grid).labels
    image = read_image(truth, "truth")
    labels = to_labels(image, str(truth))
    off_mm = offset_mm(affine_of(image), grid.affine, grid.shape)
    if labels.shape != grid.shape or off_mm > TOLERANCE_MM:
        raise BadData(
            f"{truth} has {labels.shape} voxels {off_mm:.2f} mm from the {grid.shape} of the "
            "series: name the truth of this very series"
        )
    return labels


def _name(series: Path) -> str:
    """Return what a person would call a series."""
    folder = series.resolve()
    return folder.parent.name if folder.name.lower() in IMAGES else folder.name
