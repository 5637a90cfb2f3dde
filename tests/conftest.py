"""Fixtures for all tests: DICOM made in code, and real series where available."""

import os
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from engine.devices.tensorrt.cuda import gpus
from engine.errors import LibraryMissing

if TYPE_CHECKING:
    from pydicom import Dataset  # tests of the engine run without the DICOM packages

# One thread for each process of the tests, and for those that they start: the threads of two waste
# the processor on waiting for each other, and training took twice as long. Before torch is loaded,
# which reads it once.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Where bytecode is forbidden, each program that a test starts compiles Hepar anew, half a second of
# the start of a node.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"


SLOW = (
    "system/test_stack.py",
    "system/test_partitions.py",
    "trainer/recipe/test_recipe.py",
    "system/test_archive.py",
    "test_newcomer.py",
    "system",
    "engine/test_gpu_bare.py",
    "dicom_node/node",
    "trainer",
    "engine/admin",
    "dicom_node/results/test_many_lesions.py",
    "dicom_node/pipeline",
    "test_documented_commands.py",
)
"""Folders and files here whose tests take longest, the slowest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the slow files first, so that no process ends with minutes of work of its own."""
    slow = [ROOT / "tests" / each for each in SLOW]

    def place(item: pytest.Item) -> int:
        matching = (n for n, each in enumerate(slow) if item.path.is_relative_to(each))
        return next(matching, len(slow))

    items.sort(key=place)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests with the marker `gpu` on a machine without one, before any fixture asks for it."""
    if item.get_closest_marker("gpu"):
        try:
            gpus()
        except LibraryMissing as error:
            if not _torch_has_gpu():
                pytest.skip(str(error))


def _torch_has_gpu() -> bool:
    """Return whether torch can compute on a GPU, which it also does without cuda-python."""
    try:
        import torch
    except ImportError:
        return False
    return torch.accelerator.is_available()


CtSeries = Callable[..., "list[Dataset]"]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real series, or a skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"no real series at {SHARED}")
    return SHARED


@pytest.fixture
def ct_series() -> CtSeries:
    """Make a CT series: `slices` instances, feet to head, plane i filled with i HU."""
    return make_ct_series


def make_ct_series(
    slices: int = 6,
    rows: int = 16,
    columns: int = 20,
    spacing_mm: tuple[float, float, float] = (2.0, 0.5, 0.7),
) -> "list[Dataset]":
    """Return fresh CT instances of one series; spacing is (slice, row, column)."""
    from pydicom.uid import generate_uid

    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    return [
        _ct_instance(index, (rows, columns), spacing_mm, (study, series, frame))
        for index in range(slices)
    ]


def _ct_instance(
    index: int,
    shape: tuple[int, int],
    spacing_mm: tuple[float, float, float],
    uids: tuple[str, str, str],
) -> "Dataset":
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    instance = Dataset()
    instance.SOPClassUID = CTImageStorage
    instance.SOPInstanceUID = generate_uid()
    instance.StudyInstanceUID, instance.SeriesInstanceUID, instance.FrameOfReferenceUID = uids
    instance.Modality = "CT"
    instance.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    instance.PatientName = "Doe^Jane"
    instance.PatientID = "TEST-1"
    instance.PatientBirthDate = "19500101"
    instance.PatientSex = "F"
    instance.StudyDate = "20260102"
    instance.StudyTime = "101112"
    instance.StudyID = "1"
    instance.AccessionNumber = "A1"
    instance.ReferringPhysicianName = ""
    instance.Manufacturer = "Test"
    instance.SeriesDescription = "abdomen"
    instance.SeriesNumber = 2
    instance.InstanceNumber = index + 1
    instance.PositionReferenceIndicator = ""
    instance.PatientPosition = "HFS"
    instance.ImagePositionPatient = [-100.0, -120.0, 10.0 + index * spacing_mm[0]]
    instance.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    instance.PixelSpacing = [spacing_mm[1], spacing_mm[2]]
    instance.SliceThickness = spacing_mm[0]
    instance.KVP = 120
    instance.AcquisitionNumber = 1
    instance.Rows, instance.Columns = shape
    instance.SamplesPerPixel = 1
    instance.PhotometricInterpretation = "MONOCHROME2"
    instance.BitsAllocated = instance.BitsStored = 16
    instance.HighBit = 15
    instance.PixelRepresentation = 0
    instance.RescaleIntercept, instance.RescaleSlope = -1024, 1
    instance.RescaleType = "HU"
    instance.PixelData = np.full(shape, index + 1024, np.uint16).tobytes()
    instance.file_meta = FileMetaDataset()
    instance.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    instance.file_meta.MediaStorageSOPClassUID = instance.SOPClassUID
    instance.file_meta.MediaStorageSOPInstanceUID = instance.SOPInstanceUID
    return instance


@pytest.fixture
def enhanced_ct() -> Callable[["list[Dataset]"], "Dataset"]:
    """Put the slices of a classic series into one Enhanced CT instance, in the same order."""
    return make_enhanced_ct


def make_enhanced_ct(slices: "list[Dataset]") -> "Dataset":
    """Return one multi-frame instance of the same pixels, patient and place."""
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

    first = slices[0]
    whole = Dataset()
    whole.update(
        {element.tag: deepcopy(element) for element in first if element.tag.group != 0x0020}
    )
    for keyword in ("PixelSpacing", "SliceThickness", "RescaleIntercept", "RescaleSlope"):
        delattr(whole, keyword)
    del whole.RescaleType
    whole.SOPClassUID, whole.SOPInstanceUID = EnhancedCTImageStorage, generate_uid()
    whole.StudyInstanceUID, whole.SeriesInstanceUID = first.StudyInstanceUID, generate_uid()
    whole.StudyID, whole.SeriesNumber, whole.InstanceNumber = "1", 3, 1
    whole.FrameOfReferenceUID, whole.PositionReferenceIndicator = first.FrameOfReferenceUID, ""
    whole.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    whole.NumberOfFrames = len(slices)
    whole.SharedFunctionalGroupsSequence = [_shared_groups(first)]
    whole.PerFrameFunctionalGroupsSequence = [_frame_groups(instance) for instance in slices]
    whole.PixelData = b"".join(instance.PixelData for instance in slices)
    whole.file_meta = FileMetaDataset()
    whole.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    whole.file_meta.MediaStorageSOPClassUID = whole.SOPClassUID
    whole.file_meta.MediaStorageSOPInstanceUID = whole.SOPInstanceUID
    return whole


def _shared_groups(instance: "Dataset") -> "Dataset":
    from pydicom import Dataset

    groups, measures, orientation, kind = Dataset(), Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = instance.PixelSpacing
    measures.SliceThickness = instance.SliceThickness
    orientation.ImageOrientationPatient = instance.ImageOrientationPatient
    kind.FrameType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    groups.PixelMeasuresSequence = [measures]
    groups.PlaneOrientationSequence = [orientation]
    groups.CTImageFrameTypeSequence = [kind]
    return groups


def _frame_groups(instance: "Dataset") -> "Dataset":
    from pydicom import Dataset

    groups, position, values = Dataset(), Dataset(), Dataset()
    position.ImagePositionPatient = instance.ImagePositionPatient
    values.RescaleIntercept = instance.RescaleIntercept
    values.RescaleSlope = instance.RescaleSlope
    values.RescaleType = "HU"
    groups.PlanePositionSequence = [position]
    groups.PixelValueTransformationSequence = [values]
    return groups
