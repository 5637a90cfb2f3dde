"""A phantom as a DICOM series with its truth."""

from pathlib import Path

import pytest
import SimpleITK

from dicom_node.results.phantom import write_series, write_truth
from engine.phantom import Phantom, make_phantom


@pytest.fixture(scope="session")
def phantom() -> Phantom:
    return make_phantom(5, shape=(16, 64, 64), spacing_mm=(12.0, 6.0, 6.0))


@pytest.fixture(scope="session")
def series(phantom, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("series")
    write_series(phantom, "5", folder)
    return folder


@pytest.fixture(scope="session")
def truth(phantom, tmp_path_factory) -> Path:
    """A folder with the truth as `truth.dcm`, a SEG object, and as `truth.nii.gz`."""
    folder = tmp_path_factory.mktemp("truth")
    write_truth(phantom, "5", folder)
    image = SimpleITK.GetImageFromArray(phantom.truth.labels)
    grid = phantom.truth.geometry
    image.SetSpacing(grid.spacing[::-1])
    image.SetOrigin(grid.affine[:3, 3].tolist())
    image.SetDirection((grid.affine[:3, :3] / grid.spacing)[:, ::-1].ravel().tolist())
    turned = SimpleITK.DICOMOrient(image, "RAS")  # as NIfTI files usually are
    SimpleITK.WriteImage(turned, str(folder / "truth.nii.gz"))
    return folder
