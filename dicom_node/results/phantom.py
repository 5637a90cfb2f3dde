"""A phantom as the DICOM CT series that a scanner might send."""

import hashlib
import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from dicom_node.results.attributes.model_run import ModelRun
from dicom_node.results.attributes.segment_description import Algorithm
from dicom_node.results.seg import encode, to_seg
from engine.phantom import Phantom
from engine.volume import Geometry

DRAWN_AT = datetime(2026, 1, 1, 12)
"""Date of all phantoms: the same phantom is the same file."""
INTERCEPT_HU = -1024
"""Stored value 0; twelve bits reach up to 3071 HU."""


def to_instances(phantom: Phantom, name: str) -> Iterator[Dataset]:
    """Yield the CT instances of `phantom`, feet to head.

    Args:
        phantom: its grid must run along the patient's axes.
        name: the UIDs are derived from it, so that the same name gives the same series.
    """
    for index, plane in enumerate(phantom.volume.hu):
        instance = _instance(name, index)
        _place(instance, phantom.volume.geometry, index)
        _fill(instance, plane)
        yield instance


def write_series(phantom: Phantom, name: str, folder: Path) -> list[Path]:
    """Write the instances of `phantom` into `folder` and return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index, instance in enumerate(to_instances(phantom, name)):
        paths.append(folder / f"{index + 1:04d}.dcm")
        instance.save_as(paths[-1], enforce_file_format=True)
    return paths


def write_truth(phantom: Phantom, name: str, folder: Path) -> None:
    """Write the true labels into `folder`: `truth.dcm`, a SEG of the series, and `truth.npz`.

    The arrays are `labels` (slice, row, column), running to the head, the back and the left, and
    `affine`, from voxel index to millimetres in LPS.

    Raises:
        NothingFound: the phantom was cut so that it has no liver.
    """
    folder.mkdir(parents=True, exist_ok=True)
    truth = phantom.truth
    np.savez_compressed(folder / "truth.npz", labels=truth.labels, affine=truth.geometry.affine)
    headers = list(to_instances(phantom, name))
    drawing = Algorithm("Phantom", "1", hashlib.sha256(name.encode()).hexdigest())
    seg = to_seg(truth, headers, run=ModelRun(drawing, DRAWN_AT))
    (folder / "truth.dcm").write_bytes(encode(seg))


def phantom_name(seed: int, shape: Sequence[int], spacing_mm: Sequence[float], tumours: int) -> str:
    """Return the name of a phantom, which is also its Series Description."""
    voxels = "x".join(map(str, shape))
    millimetres = "x".join(f"{mm:g}" for mm in spacing_mm)
    return f"phantom {seed}, {voxels} at {millimetres} mm, {tumours} tumours"


def derived_uid(*words: str) -> str:
    """Return a UID that depends on `words` alone (PS3.5 B.2, a UUID under 2.25)."""
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, '/'.join(('hepar-phantom', *words))).int}"


def _instance(name: str, index: int) -> Dataset:
    """Return the required attributes of a CT Image (PS3.3 A.3), without place and pixels."""
    instance = Dataset()
    instance.file_meta = FileMetaDataset()
    instance.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    instance.file_meta.MediaStorageSOPClassUID = CTImageStorage
    instance.SOPClassUID = CTImageStorage
    instance.SOPInstanceUID = derived_uid(name, "instance", str(index))
    instance.file_meta.MediaStorageSOPInstanceUID = instance.SOPInstanceUID
    instance.StudyInstanceUID = derived_uid(name, "study")
    instance.SeriesInstanceUID = derived_uid(name, "series")
    instance.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    instance.Modality = "CT"
    instance.PatientName, instance.PatientID = "Phantom^Hepar", "PHANTOM"
    instance.PatientBirthDate, instance.PatientSex = "", "O"
    instance.PatientIdentityRemoved = "YES"
    # Required once the line above says YES (PS3.3 C.7.1.1).
    instance.DeidentificationMethod = "Synthetic: drawn by a program, no patient"
    instance.StudyDate = instance.SeriesDate = instance.ContentDate = "20260101"
    instance.AcquisitionDate = "20260101"
    instance.StudyTime = instance.SeriesTime = instance.ContentTime = "120000"
    instance.AcquisitionTime = "120000"
    instance.StudyID, instance.AccessionNumber, instance.ReferringPhysicianName = "1", "", ""
    instance.StudyDescription = "Phantom of an abdomen"
    instance.SeriesDescription = name
    instance.Manufacturer, instance.ManufacturerModelName = "Hepar", "Phantom"
    instance.SoftwareVersions = "1"
    instance.SeriesNumber, instance.AcquisitionNumber = 1, 1
    instance.InstanceNumber = index + 1
    instance.KVP = "120"
    instance.BodyPartExamined = "ABDOMEN"
    return instance


def _place(instance: Dataset, geometry: Geometry, index: int) -> None:
    slices_mm, rows_mm, columns_mm = geometry.spacing
    instance.PatientPosition = "HFS"
    instance.FrameOfReferenceUID = geometry.frame_of_reference
    instance.PositionReferenceIndicator = ""
    corner = geometry.affine @ [index, 0, 0, 1]
    # Rounded so that each number fits the 16 characters of a DS, and is the same on every machine.
    instance.ImagePositionPatient = [round(float(mm), 4) for mm in corner[:3]]
    along_row, along_column = geometry.affine[:3, 2], geometry.affine[:3, 1]
    instance.ImageOrientationPatient = [
        *(round(float(mm), 6) for mm in along_row / columns_mm),
        *(round(float(mm), 6) for mm in along_column / rows_mm),
    ]
    instance.PixelSpacing = [round(rows_mm, 6), round(columns_mm, 6)]
    instance.SliceThickness = round(slices_mm, 6)
    instance.SliceLocation = round(float(corner[2]), 4)


def _fill(instance: Dataset, hu: NDArray[np.int16]) -> None:
    instance.Rows, instance.Columns = hu.shape
    instance.SamplesPerPixel, instance.PhotometricInterpretation = 1, "MONOCHROME2"
    instance.BitsAllocated, instance.BitsStored, instance.HighBit = 16, 12, 11
    instance.PixelRepresentation = 0
    instance.RescaleIntercept, instance.RescaleSlope, instance.RescaleType = INTERCEPT_HU, 1, "HU"
    instance.WindowCenter, instance.WindowWidth = 60, 360
    instance.PixelData = (hu - INTERCEPT_HU).astype("<u2").tobytes()
