"""One series of DICOM and what somebody drew on it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dicom_node.series import UnsupportedSeries, read_series, to_volume
from engine.volume import Geometry, Label
from trainer.datasets.case import Case
from trainer.datasets.images import TOLERANCE_MM, affine_of, read_image
from trainer.datasets.nifti import to_labels
from trainer.datasets.target import Target
from trainer.errors import BadData
from trainer.evaluation.seg_objects import read_seg

IMAGES = {"dicom", "dicom_anon"}
"""Names of folders that do not tell whose images they hold."""


def read_reference(series: Path, truth: Path) -> Case:
    """Read a folder of one series, and a NIfTI file or SEG object of its liver and tumours.

    A truth without tumour says nothing of tumours.

    Args:
        series: folder of the series' instances.
        truth: NIfTI with 1 for the liver and 2 for tumour, or a SEG object.

    Raises:
        BadData: the series is no volume, the truth is none, or it lies elsewhere.
    """
    files = sorted(path for path in series.iterdir() if path.is_file())
    if not files:
        raise BadData(f"no file in {series}: name the folder of one DICOM series")
    try:
        instances = read_series(files, derive_frame_of_reference=True)
        volume = to_volume(instances)
    except UnsupportedSeries as error:
        raise BadData(f"{series}: {error}") from error
    labels = _read(truth, volume.geometry)
    if not np.any(labels == Label.TUMOUR):
        labels = labels * np.uint8(Target.LIVER_OR_TUMOUR)
    uid = str(instances[0].SeriesInstanceUID)
    return Case(_name(series), "series", uid, volume, labels)


def without_tumours(case: Case) -> Case:
    """Return a case of which somebody says that there is no tumour in it."""
    liver = np.where(case.target == Target.LIVER_OR_TUMOUR, np.uint8(Target.LIVER), case.target)
    return replace(case, target=liver)


def _read(truth: Path, grid: Geometry) -> NDArray[np.uint8]:
    if not truth.name.endswith((".nii", ".nii.gz")):
        return read_seg(truth, grid).labels
    image = read_image(truth, "truth")
    labels = to_labels(image, str(truth))
    off_mm = float(np.abs(affine_of(image) - grid.affine).max())
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
