"""A case on a grid of another spacing, for members that see volumes."""

from collections.abc import Sequence

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from engine.volume import Geometry, Volume
from trainer.datasets.cases.case import Case
from trainer.datasets.cases.target import Target

AIR_HU = -1024


def resampled(case: Case, spacing_mm: tuple[float, float, float]) -> Case:
    """Return a case at `spacing_mm` (slice, row, column), with the same middle and extent.

    Where the grid becomes coarser, values are averaged by a Gaussian first, so that nothing
    aliases; each voxel gets the label that most of it has.
    """
    grid = case.volume.geometry
    target = _grid(grid, spacing_mm)
    soft_mm = [
        max(0.0, 0.4 * (new - old)) for new, old in zip(spacing_mm, grid.spacing, strict=True)
    ]
    hu = _resample(case.volume.hu.astype(np.float32), grid, target, soft_mm, AIR_HU)
    shares = {
        int(value): _resample((case.target == value).astype(np.float32), grid, target, soft_mm, 0)
        for value in np.unique(case.target)
    }
    shares.setdefault(int(Target.BACKGROUND), np.full(target.shape, 1e-6, np.float32))
    values = np.array(list(shares), np.uint8)
    labels = values[np.argmax(np.stack(list(shares.values())), axis=0)]
    volume = Volume(np.rint(hu).astype(np.int16), target)
    return Case(case.patient, case.source, case.series, volume, labels, case.spacing_lost)


def _grid(grid: Geometry, spacing_mm: tuple[float, float, float]) -> Geometry:
    """Return the grid of another spacing about the same middle."""
    ratio = np.array(spacing_mm) / grid.spacing
    shape = tuple(int(max(1, round(n / r))) for n, r in zip(grid.shape, ratio, strict=True))
    affine = grid.affine.copy()
    affine[:3, :3] = grid.affine[:3, :3] * ratio
    middle = grid.affine @ [*(np.array(grid.shape) - 1) / 2, 1]
    affine[:3, 3] = middle[:3] - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Geometry((shape[0], shape[1], shape[2]), affine, grid.frame_of_reference)


def _resample(
    array: NDArray[np.float32],
    grid: Geometry,
    target: Geometry,
    soft_mm: Sequence[float],
    outside: float,
) -> NDArray[np.float32]:
    image = _image(array, grid)
    for axis, sigma in enumerate(reversed(soft_mm)):
        if sigma > 0 and image.GetSize()[axis] > 3:  # what the recursive filter needs
            image = SimpleITK.RecursiveGaussian(image, sigma, direction=axis)
    like = _image(np.zeros(target.shape, np.uint8), target)
    identity = SimpleITK.Transform()
    moved = SimpleITK.Resample(image, like, identity, SimpleITK.sitkLinear, outside)
    return np.asarray(SimpleITK.GetArrayFromImage(moved), np.float32)


def _image(array: NDArray[np.float32] | NDArray[np.uint8], grid: Geometry) -> SimpleITK.Image:
    image = SimpleITK.GetImageFromArray(array)
    steps = grid.affine[:3, :3][:, ::-1]
    spacing = np.linalg.norm(steps, axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((steps / spacing).ravel().tolist())
    image.SetOrigin(grid.affine[:3, 3].tolist())
    return image
