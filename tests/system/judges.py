"""Other toolkits as judges of our objects, and masks compared in patient coordinates."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from engine.volume import Geometry
from tests.system.servers import BIN


def dciodvfy(seg: Path) -> tuple[int, str]:
    """Exit status and words of dicom3tools' validator; 0 says that there is no error."""
    run = subprocess.run(
        [BIN / "dciodvfy", str(seg)], capture_output=True, text=True, errors="replace"
    )
    return run.returncode, run.stdout + run.stderr


def read_by_dcmqi(seg: Path, folder: Path) -> dict[int, SimpleITK.Image]:
    """Return what dcmqi's `segimage2itkimage` makes of a SEG: segment number to image."""
    command = [BIN / "segimage2itkimage", "--inputDICOM", seg, "--outputDirectory", folder]
    run = subprocess.run(
        [*command, "--prefix", "read"], capture_output=True, text=True, errors="replace"
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return {
        int(path.stem.removeprefix("read-")): SimpleITK.ReadImage(str(path))
        for path in folder.glob("read-*.nrrd")
    }


def report_by_dcmqi(report: Path, folder: Path) -> list[dict[str, Any]]:
    """Return the measurement groups that dcmqi's `tid1500reader` finds in a report."""
    written = folder / "report.json"
    command = [BIN / "tid1500reader", "--inputDICOM", report, "--outputMetadata", written]
    run = subprocess.run(command, capture_output=True, text=True, errors="replace")
    assert run.returncode == 0, run.stdout + run.stderr
    groups: list[dict[str, Any]] = json.loads(written.read_text())["Measurements"]
    return groups


def read_by_plastimatch(rtstruct: Path, images: Path, folder: Path) -> dict[str, SimpleITK.Image]:
    """Return what plastimatch fills the outlines of an RTSTRUCT with: region's name to image."""
    command = ["plastimatch", "convert", "--input", rtstruct, "--referenced-ct", images]
    command += ["--output-prefix", folder / "filled", "--prefix-format", "nrrd"]
    run = subprocess.run(command, capture_output=True, text=True, errors="replace")
    assert run.returncode == 0, run.stdout + run.stderr
    return {
        path.stem: SimpleITK.ReadImage(str(path)) for path in (folder / "filled").glob("*.nrrd")
    }


def image_grid(image: SimpleITK.Image) -> Geometry:
    """The image's own voxel grid, without a frame of reference."""
    steps = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = steps[:, ::-1], image.GetOrigin()  # (slice, row, column)
    slices, rows, columns = reversed(image.GetSize())
    return Geometry((slices, rows, columns), affine, "")


def on_grid(image: SimpleITK.Image, grid: Geometry) -> NDArray[np.bool_]:
    """Carry an image's marked voxels to the grid by their place in the patient (LPS).

    Nothing is interpolated: a marked voxel that is no voxel of the grid fails.
    """
    marked = np.argwhere(SimpleITK.GetArrayViewFromImage(image))[:, ::-1]  # as (x, y, z)
    direction = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    places = marked @ direction.T + image.GetOrigin()
    index = (places - grid.affine[:3, 3]) @ np.linalg.inv(grid.affine[:3, :3]).T
    nearest = np.rint(index).astype(int)
    assert np.abs(index - nearest).max(initial=0) < 0.02, "the mask lies between the voxels"
    mask = np.zeros(grid.shape, np.bool_)
    assert ((nearest >= 0) & (nearest < grid.shape)).all(), "the mask leaves the grid"
    mask[tuple(nearest.T)] = True
    return mask


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Overlap of two masks: 1 is the same, 0 nothing in common."""
    return float(2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b)))
