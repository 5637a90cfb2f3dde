"""A phantom as a DICOM series with its truth, and a model that marks by thresholds."""

from pathlib import Path

import pytest
import SimpleITK

from dicom_node.phantom_series import write_series, write_truth
from engine.phantom import Phantom, make_phantom
from tests.engine.toy import write_manifest, write_toy_model


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


@pytest.fixture(scope="session")
def toy(tmp_path_factory) -> Path:
    """A model that has not seen lits3 and lits4."""
    folder = write_toy_model(tmp_path_factory.mktemp("models") / "toy")
    write_manifest(folder, evaluation={"held_out_patients": ["lits3", "lits4"]})
    return folder
