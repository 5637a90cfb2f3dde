"""From a NIfTI file to a volume, and from its labels to a NIfTI file on the same grid."""

import gzip
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.orientations import (
    apply_orientation,
    axcodes2ornt,
    inv_ornt_aff,
    io_orientation,
    ornt_transform,
)
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from dicom_node.attributes import UNREADABLE
from dicom_node.decoding.bounds import require_bounded_volume
from dicom_node.decoding.stream import BrokenStream
from dicom_node.errors import UnsupportedSeries
from dicom_node.nifti.axes import RAS_TO_LPS
from engine.volume import Geometry, LabelMap, Volume

SUFFIXES = (".nii", ".nii.gz")
FOOT_TO_HEAD = axcodes2ornt(("S", "P", "L"))
"""Orientation of a `Volume`: slices to the head, rows to the back, columns to the left."""
MM_OF = {"meter": 1000.0, "micron": 0.001}
"""Millimetres of the units that a header may state; all others are millimetres."""
MOST_AHEAD = 1 << 24
"""Bytes before the voxels; NIfTI extensions hold a few kilobytes."""
MOST_BEHIND = 1 << 20
"""Bytes after the voxels, which mean nothing; the rest of a file that inflates is not read."""
MOST_UNEQUAL = 2.0
"""Ratio of row to column spacing in axial slices; a CT's pixels are square."""
GEOMETRY = (
    *("pixdim", "xyzt_units", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d"),
    *("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z"),
)
"""Fields of a header that state where the grid lies."""
HU = -1024, 3071
"""Bounds of a `Volume`, as of a DICOM series."""
CHUNK = 1 << 20
FIRST_VERSION = 348
"""Bytes of a header of NIfTI-1; NIfTI-2 has 540."""

UNREADABLE_IMAGE = (*UNREADABLE, OSError, EOFError, ImageFileError, HeaderDataError)


@dataclass(frozen=True, eq=False)
class NiftiScan:
    """A volume, and the file whose grid its labels are written on."""

    volume: Volume
    header: nibabel.Nifti1Header
    """Of the file."""
    turn: NDArray[np.float64]
    """nibabel's orientation that leads from the file's axes to those of the volume."""


def is_nifti(path: Path) -> bool:
    """Return whether the file's name is that of a NIfTI image."""
    return path.name.lower().endswith(SUFFIXES)


def stem_of(path: Path) -> str:
    """Return the file's name without ".nii" or ".nii.gz"."""
    name = path.name
    suffix = next((each for each in reversed(SUFFIXES) if name.lower().endswith(each)), "")
    return name[: len(name) - len(suffix)]


def read_nifti(path: Path) -> NiftiScan:
    """Read a CT volume in Hounsfield units, whichever way its axes run.

    Raises:
        UnsupportedSeries: the file is broken, is no volume, or does not state where left is.
    """
    try:
        image = nibabel.load(path)
        if not isinstance(image, nibabel.Nifti1Image):
            raise UnsupportedSeries(f"{path.name} is no single-file NIfTI; convert it to .nii.gz")
        return _to_scan(image, path)
    except BrokenStream as error:
        raise UnsupportedSeries(f"{path.name}: {error}") from error
    except UNREADABLE_IMAGE as error:
        # Not the error's words: a header's description may quote the patient.
        raise UnsupportedSeries(
            f"{path.name} is no whole NIfTI image ({type(error).__name__}); export it again"
        ) from error


def write_labels(labels: LabelMap, scan: NiftiScan) -> bytes:
    """Return a .nii.gz with one `Label` per voxel, on the grid and in the axes of the scan's file.

    Nothing but the geometry is taken from the file's header: its texts may name the patient.
    """
    # The inverse: row i of an orientation has the axis that axis i becomes, and its direction.
    back = np.empty_like(scan.turn)
    for axis, (target, flip) in enumerate(scan.turn):
        back[int(target)] = axis, flip
    stored = apply_orientation(labels.labels, back)
    first = int(scan.header["sizeof_hdr"]) == FIRST_VERSION
    kind: Any = nibabel.Nifti1Image if first else nibabel.Nifti2Image
    image = kind(stored, None, dtype=np.uint8)
    for field in GEOMETRY:
        image.header[field] = scan.header[field]
    # Without the time, so that the same labels are the same bytes.
    return gzip.compress(image.to_bytes(), 6, mtime=0)


def _to_scan(image: Any, path: Path) -> NiftiScan:
    header = image.header
    shape, affine = _shape(header), _affine(header)
    require_bounded_volume((1, 1, 1), affine)  # before its axes are looked for
    turn = ornt_transform(io_orientation(affine), FOOT_TO_HEAD)
    order = np.argsort(turn[:, 0])
    turned = RAS_TO_LPS @ affine @ inv_ornt_aff(turn, shape)
    slices, rows, columns = (shape[axis] for axis in order)
    # + 0.0 turns -0.0 into 0.0.
    geometry = Geometry((slices, rows, columns), turned + 0.0, "")
    _require_axial(geometry)
    require_bounded_volume(geometry.shape, turned)
    _require_whole(path, header)
    stored = np.reshape(image.dataobj.get_unscaled(), shape)
    hu = apply_orientation(_to_hu(stored, image.dataobj.slope, image.dataobj.inter), turn)
    return NiftiScan(Volume(np.ascontiguousarray(hu), geometry), header, turn)


def _shape(header: nibabel.Nifti1Header) -> tuple[int, int, int]:
    shape = tuple(int(each) for each in header.get_data_shape())
    if len(shape) < 3 or any(each != 1 for each in shape[3:]) or min(shape) < 1:
        raise BrokenStream(f"its shape is {shape}, not that of one volume; extract one")
    if header.get_data_dtype().kind not in "iuf":
        raise BrokenStream(f"its voxels are {header.get_data_dtype()}, not numbers; convert them")
    return shape[0], shape[1], shape[2]


def _affine(header: nibabel.Nifti1Header) -> NDArray[np.float64]:
    """Return voxel index to RAS millimetres, from the sform or else the qform."""
    sform, sform_code = header.get_sform(coded=True)
    qform, qform_code = header.get_qform(coded=True)
    if not (sform_code or qform_code):
        raise BrokenStream(
            "neither sform nor qform is set, so that left and right are unknown; set one of them"
        )
    # Programs differ in which of the two they believe.
    if sform_code and qform_code and _axes(sform) != _axes(qform):
        raise BrokenStream(
            f"the sform's axes run to {_axes(sform)}, the qform's to {_axes(qform)}; correct one"
        )
    affine = np.array(sform if sform_code else qform, np.float64)
    affine[:3] *= MM_OF.get(header.get_xyzt_units()[0], 1.0)
    return affine


def _axes(affine: NDArray[np.float64]) -> str:
    return "".join(str(each) for each in nibabel.aff2axcodes(affine))


def _require_axial(geometry: Geometry) -> None:
    slices, rows, columns = geometry.shape
    if min(slices, rows, columns) < 2:
        raise BrokenStream(f"it has {slices} axial slices of {rows} x {columns}; two are the least")
    _, rows_mm, columns_mm = geometry.spacing
    if max(rows_mm, columns_mm) > MOST_UNEQUAL * min(rows_mm, columns_mm):
        raise BrokenStream(
            f"its axial pixels are {rows_mm:.3g} x {columns_mm:.3g} mm, as in a coronal or sagittal"
            " scan; resample it to axial slices"
        )


def _require_whole(path: Path, header: nibabel.Nifti1Header) -> None:
    """Read a file to its end, the checksum of a compressed one included.

    Raises:
        BrokenStream: it is shorter than its header says, or far longer.
    """
    ahead = int(header["vox_offset"])
    needed = ahead + header.get_data_dtype().itemsize * math.prod(header.get_data_shape())
    if not 0 <= ahead <= MOST_AHEAD:
        raise BrokenStream(f"its voxels begin at byte {ahead}; at most {MOST_AHEAD} are skipped")
    size = 0
    with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as file:
        while size <= needed + MOST_BEHIND and (chunk := file.read(CHUNK)):
            size += len(chunk)
    if not needed <= size <= needed + MOST_BEHIND:
        raise BrokenStream(f"it holds {size} bytes and should hold {needed}; export it again")


def _to_hu(stored: NDArray[Any], slope: float, intercept: float) -> NDArray[np.int16]:
    """Return Hounsfield units, plane by plane: a scaled whole would take four times the memory.

    What is no number, as outside of a reconstruction, is air.
    """
    hu = np.empty(stored.shape, np.int16)
    low, high = HU
    for index in range(stored.shape[2]):
        plane = np.nan_to_num(stored[:, :, index] * np.float64(slope) + intercept, nan=low)
        hu[:, :, index] = np.rint(np.clip(plane, low, high))
    return hu
