"""One NIfTI image, whole or not at all."""

import gzip
import itertools
import math
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from numpy.typing import NDArray

from trainer.errors import BadCase

if TYPE_CHECKING:
    import SimpleITK

TOLERANCE_MM = 0.3
"""Largest offset between labels and their volume at any corner of the grid. Steps that one of the
headers rounds to three decimals are 0.26 mm off after 512 voxels."""


def read_image(path: Path, name: str) -> "SimpleITK.Image":
    """Read an image and turn it to run to the patient's left, back and head.

    Raises:
        BadCase: the file is absent, breaks off, or is no image.
    """
    return oriented(read_stored(path, name))


def read_stored(path: Path, name: str) -> "SimpleITK.Image":
    """Read an image as it is stored.

    Raises:
        BadCase: the file is absent, breaks off, or is no image.
    """
    import SimpleITK  # a large library, absent on a machine with packed slices only

    try:
        _check_whole(path)
        image = SimpleITK.ReadImage(str(path))
    except (RuntimeError, OSError, EOFError, ImageFileError, zlib.error) as error:
        # ITK's errors have several lines of C++ before the one that says why.
        reason = str(error).strip().splitlines()[-1]
        raise BadCase(f"{name}: {path} cannot be read: {reason}") from error
    return image


def _check_whole(path: Path) -> None:
    """Read a file to its end, checksum and all: ITK takes half of one without a word.

    Raises:
        OSError, EOFError, ImageFileError, zlib.error: it is absent, broken, or breaks off.
    """
    if path.suffix == ".gz":
        with gzip.open(path) as file:
            # 16 MB at a time; reading to the end is what checks gzip's CRC.
            size = sum(iter(lambda: len(file.read(1 << 24)), 0))
    else:
        size = path.stat().st_size
    header = nibabel.Nifti1Image.from_filename(path).header
    voxel = header.get_data_dtype().itemsize
    needed = int(header["vox_offset"]) + voxel * math.prod(header.get_data_shape())
    if size < needed:
        raise EOFError(f"it has {size} bytes and should have {needed}; download it again")


def oriented(image: "SimpleITK.Image") -> "SimpleITK.Image":
    """Return an image that runs to the patient's left, back and head."""
    import SimpleITK  # a large library, absent on a machine with packed slices only

    turned: SimpleITK.Image = SimpleITK.DICOMOrient(image, "LPS")
    return turned


def says_nothing(image: "SimpleITK.Image") -> bool:
    """Return whether an image's header is no more than the one that is written for want of another:
    voxels of 1 mm along the axes.
    """
    plain = np.allclose(image.GetSpacing(), 1) and np.isclose(np.abs(image.GetDirection()).sum(), 3)
    return bool(plain)


def affine_of(image: "SimpleITK.Image") -> NDArray[np.float64]:
    """Voxel (slice, row, column) to millimetres."""
    affine = np.eye(4)
    direction = np.reshape(image.GetDirection(), (3, 3)) * np.array(image.GetSpacing())
    # SimpleITK counts (column, row, slice), in the LPS frame that DICOM has too.
    affine[:3, :3] = direction[:, ::-1]
    affine[:3, 3] = image.GetOrigin()
    return affine


def offset_mm(one: NDArray[np.float64], other: NDArray[np.float64], shape: Sequence[int]) -> float:
    """Return how far two grids of one shape lie apart, along an axis of the patient, where most.

    That is at a corner. Affines that differ by 0.05 mm in a step differ by 25 mm after 512 steps.

    Args:
        one: (4, 4), voxel to millimetres.
        other: likewise.
        shape: voxels along each axis.
    """
    corners = [(*index, 1) for index in itertools.product(*((0, count - 1) for count in shape))]
    return float(np.abs((one - other)[:3] @ np.array(corners, float).T).max())
