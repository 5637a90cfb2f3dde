"""Labels of a DICOM series as NIfTI, for programs that read no SEG."""

import gzip

import numpy as np

from dicom_node.nifti.axes import RAS_TO_LPS
from engine.volume import LabelMap

COLUMNS_ROWS_SLICES = [2, 1, 0, 3]
"""NIfTI's first axis is the fastest; that of a `LabelMap` the slowest."""


def is_even(labels: LabelMap) -> bool:
    """Return whether an affine, which is all that NIfTI has, can state where each slice lies."""
    return labels.geometry.slice_places is None


def encode_series_labels(labels: LabelMap) -> bytes:
    """Return a .nii.gz with one `Label` per voxel, on the grid of an even series."""
    import nibabel  # 0.4 s of imports, which a node rarely needs

    affine = RAS_TO_LPS @ labels.geometry.affine[:, COLUMNS_ROWS_SLICES]
    image = nibabel.Nifti1Image(labels.labels.transpose(2, 1, 0), affine, dtype=np.uint8)
    image.set_qform(None, code=0)  # it cannot state a tilted gantry's grid
    image.set_sform(affine, code="scanner")
    image.header.set_xyzt_units("mm")
    return gzip.compress(image.to_bytes(), 6, mtime=0)
