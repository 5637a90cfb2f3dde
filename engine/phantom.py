"""Synthetic abdominal CT made of ellipsoids, with known labels.

It is not evidence of accuracy. It contains structures that are hard to segment: a body wall with
ribs and spine, the lung bases, and a liver with vessels and tumours next to organs of similar
density.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.volume import Geometry, Label, LabelMap, Volume

AIR_HU, LUNG_HU, FAT_HU, MUSCLE_HU, BONE_HU = -1000, -850, -100, 55, 320
LIVER_HU, VESSEL_HU, TUMOUR_HU = 108, 150, 62

Point = tuple[float, float, float]
"""Millimetres from the centre of the grid along (head, back, left)."""


@dataclass(frozen=True)
class Phantom:
    """A volume and its true labels."""

    volume: Volume
    truth: LabelMap


@dataclass(frozen=True)
class Ellipsoid:
    """An organ's shape: a superellipsoid along the patient's axes."""

    centre: Point
    half_axes: Point
    power: float = 2.0
    """Exponent: 2 is an ellipsoid, larger values approach a box."""

    def scaled(self, factor: float) -> "Ellipsoid":
        """Return the shape scaled by `factor` about its own centre."""
        z, y, x = self.half_axes
        return Ellipsoid(self.centre, (z * factor, y * factor, x * factor), self.power)


# A half-axis of 1e4 mm: no end within any scan.
BODY = Ellipsoid((0, 0, 0), (1e4, 112, 160), 2.3)
LUNGS = (Ellipsoid((150, 0, -72), (115, 92, 76)), Ellipsoid((150, 5, 76), (120, 90, 70)))
RIGHT_LOBE = Ellipsoid((15, 2, -78), (92, 78, 62), 2.4)
LEFT_LOBE = Ellipsoid((45, -52, -8), (45, 34, 72), 2.2)
ORGANS: tuple[tuple[Ellipsoid, float], ...] = (
    (Ellipsoid((40, 40, 98), (52, 42, 30)), 118),  # spleen
    (Ellipsoid((-65, 48, -58), (52, 26, 26)), 165),  # right kidney
    (Ellipsoid((-50, 50, 62), (54, 26, 26)), 168),  # left kidney
    (Ellipsoid((-65, 48, -58), (38, 13, 13)), 130),
    (Ellipsoid((-50, 50, 62), (40, 13, 13)), 130),
    (Ellipsoid((40, -30, 72), (55, 38, 36)), 35),  # stomach
    (Ellipsoid((42, -52, 72), (34, 12, 24)), -900),  # its gas
    (Ellipsoid((-25, 0, 20), (14, 14, 60)), 95),  # pancreas
    (Ellipsoid((0, 24, 14), (1e4, 11, 11)), 165),  # aorta
    (Ellipsoid((0, 20, -20), (1e4, 11, 13)), 145),  # inferior vena cava
    (Ellipsoid((-35, -38, -62), (28, 18, 15)), 8),  # gall bladder
)
HEART = Ellipsoid((118, -38, 15), (48, 45, 52))
SPINE = Ellipsoid((0, 55, 0), (1e4, 18, 23))
CANAL = Ellipsoid((0, 82, 0), (1e4, 9, 11))


def make_phantom(
    seed: int = 0,
    *,
    shape: tuple[int, int, int] = (48, 512, 512),
    spacing_mm: tuple[float, float, float] = (5.0, 0.75, 0.75),
    tumours: int = 3,
    noise_hu: float = 12.0,
) -> Phantom:
    """Draw a phantom; the same arguments give the same voxels.

    Args:
        seed: of the random sizes, positions, tumours and noise.
        shape: voxels along (slice, row, column).
        spacing_mm: millimetres between them, likewise.
        tumours: number of tumours in the liver, 6 to 22 mm in radius.
        noise_hu: standard deviation of the noise.
    """
    random = np.random.default_rng(seed)
    canvas = _Canvas(shape, spacing_mm, random)
    _draw_body(canvas)
    liver = _draw_liver(canvas)
    _draw_vessels(canvas, liver)
    truth = np.where(liver, np.uint8(Label.LIVER), np.uint8(Label.BACKGROUND))
    for _ in range(tumours):
        truth[_draw_tumour(canvas, truth)] = Label.TUMOUR
    geometry = _geometry(shape, spacing_mm, seed)
    hu = _scan(canvas.hu, random, noise_hu)
    return Phantom(Volume(hu, geometry), LabelMap(truth, geometry))


class _Canvas:
    """The grid that organs are drawn on, with random variation between patients."""

    def __init__(
        self,
        shape: tuple[int, int, int],
        spacing_mm: tuple[float, float, float],
        random: np.random.Generator,
    ) -> None:
        self.random = random
        self.spacing_mm = spacing_mm
        # Patients differ in size; the axes are divided by it instead of multiplying every shape.
        self.size = random.uniform(0.9, 1.1)
        self.axes = [
            ((np.arange(n) - (n - 1) / 2) * step / self.size).astype(np.float32)
            for n, step in zip(shape, spacing_mm, strict=True)
        ]
        self.hu = np.full(shape, AIR_HU, np.float32)

    def vary(self, shape: Ellipsoid, shift_mm: float = 5.0) -> Ellipsoid:
        """Return `shape` moved and resized at random."""
        z, y, x = (c + self.random.uniform(-shift_mm, shift_mm) for c in shape.centre)
        a, b, c = (h * self.random.uniform(0.9, 1.1) for h in shape.half_axes)
        return Ellipsoid((z, y, x), (a, b, c), shape.power)

    def inside(self, shape: Ellipsoid, bumps: float = 0.0) -> NDArray[np.bool_]:
        """Return a mask of the voxels in `shape`, its surface modulated by the fraction `bumps`."""
        (z, y, x), power = self.axes, shape.power
        if bumps:
            zyx = np.meshgrid(z, y, x, indexing="ij", sparse=True)
            phase = self.random.uniform(0, 2 * np.pi, 3)
            # Waves of 2 pi x 24 = 150 mm: lobes, not roughness.
            wave = sum(np.sin(a / 24 + p) for a, p in zip(zyx, phase, strict=True))
            limit: NDArray[np.float32] | float = 1 + bumps * np.asarray(wave, np.float32)
        else:
            limit = 1.0
        terms = [
            np.abs((axis - centre) / half) ** power
            for axis, centre, half in zip((z, y, x), shape.centre, shape.half_axes, strict=True)
        ]
        total = terms[0][:, None, None] + terms[1][:, None] + terms[2]
        return np.asarray(total <= limit)

    def fill(self, where: NDArray[np.bool_], hu: float) -> None:
        """Set the voxels `where` to one density, varied by up to 8 HU per patient."""
        # Fat, lung and air, all below 0, are the same in everybody.
        self.hu[where] = hu + (self.random.uniform(-8, 8) if hu > 0 else 0)


def _draw_body(canvas: _Canvas) -> None:
    fat_mm = canvas.random.uniform(8, 24)
    wall = BODY.scaled(1 - fat_mm / 160)
    canvas.fill(canvas.inside(BODY), FAT_HU)
    canvas.fill(canvas.inside(wall), MUSCLE_HU)
    _draw_ribs(canvas, wall)
    cavity = canvas.inside(wall.scaled(0.9))
    canvas.fill(cavity, FAT_HU)
    canvas.fill(cavity & _clouds(canvas), canvas.random.uniform(15, 45))  # bowel
    for side in (-1, 1):
        canvas.fill(canvas.inside(Ellipsoid((0, 74, side * 40), (1e4, 26, 30))), MUSCLE_HU)
    # Later shapes cover earlier ones: kidneys before their pelves, bowel before the stomach.
    for organ, hu in ORGANS:
        canvas.fill(canvas.inside(canvas.vary(organ, 3.0)) & canvas.inside(wall.scaled(0.93)), hu)
    canvas.fill(canvas.inside(SPINE), BONE_HU)
    canvas.fill(canvas.inside(SPINE.scaled(0.88)), 190)
    canvas.fill(canvas.inside(Ellipsoid((0, 88, 0), (1e4, 20, 20))), BONE_HU)
    canvas.fill(canvas.inside(CANAL), 35)
    for lung in LUNGS:
        canvas.fill(cavity & canvas.inside(canvas.vary(lung, 4.0)), LUNG_HU)
    canvas.fill(cavity & canvas.inside(canvas.vary(HEART)), 125)


def _draw_ribs(canvas: _Canvas, wall: Ellipsoid) -> None:
    z, y, x = np.meshgrid(*canvas.axes, indexing="ij", sparse=True)
    slope = np.arctan2(-y, np.abs(x)) * 30  # ribs run down towards the front
    ring = canvas.inside(wall.scaled(0.985)) & ~canvas.inside(wall.scaled(0.93))
    # A rib of 11 mm every 27 mm.
    canvas.fill(ring & (np.mod(z + slope, 27) < 11), BONE_HU)


def _clouds(canvas: _Canvas) -> NDArray[np.bool_]:
    """Return loops of bowel in the lower front of the belly."""
    z, y, x = np.meshgrid(*canvas.axes, indexing="ij", sparse=True)
    a, b, c = canvas.random.uniform(0, 6, 3)
    loops = np.sin(x / 13 + a + np.sin(z / 21)) * np.sin(y / 12 + b) + np.sin(z / 16 + c) * 0.5
    return np.asarray((loops > -0.1) & (y < 45) & (z < 15))


def _draw_liver(canvas: _Canvas) -> NDArray[np.bool_]:
    allowed = canvas.inside(BODY.scaled(0.83)) & ~canvas.inside(SPINE.scaled(1.3))
    for neighbour in (ORGANS[1][0].scaled(1.12), ORGANS[10][0].scaled(1.1), HEART):
        allowed &= ~canvas.inside(neighbour)
    lobes = canvas.inside(canvas.vary(RIGHT_LOBE), 0.05)
    lobes |= canvas.inside(canvas.vary(LEFT_LOBE), 0.05)
    liver = lobes & allowed
    canvas.fill(liver, canvas.random.uniform(LIVER_HU - 22, LIVER_HU + 14))
    return np.asarray(liver)


def _draw_vessels(canvas: _Canvas, liver: NDArray[np.bool_]) -> None:
    """Draw the portal vein's branches as chains of balls from the hilum."""
    for _ in range(7):
        point = np.array([10.0, 0.0, -35.0])
        step = canvas.random.normal(size=3) + np.array([0.3, 0.0, -0.9])
        radius = canvas.random.uniform(4.5, 7)
        while radius > 1.5:
            z, y, x = point
            ball = canvas.inside(Ellipsoid((z, y, x), (radius, radius, radius)))
            canvas.hu[ball & liver] = VESSEL_HU
            # A smooth bend: each step deviates a little from the one before.
            step += canvas.random.normal(scale=0.4, size=3)
            point = point + step / np.linalg.norm(step) * radius
            radius *= 0.93


def _draw_tumour(canvas: _Canvas, truth: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Draw one tumour around a voxel of healthy liver; return its mask."""
    healthy = np.flatnonzero(truth == Label.LIVER)
    if healthy.size == 0:
        return np.zeros(truth.shape, np.bool_)
    index = np.unravel_index(canvas.random.choice(healthy), truth.shape)
    z, y, x = (float(axis[i]) for axis, i in zip(canvas.axes, index, strict=True))
    radius = canvas.random.uniform(6, 22)
    a, b, c = radius * canvas.random.uniform(0.8, 1.2, 3)
    where = canvas.inside(Ellipsoid((z, y, x), (a, b, c)), 0.12) & (truth != Label.BACKGROUND)
    canvas.fill(where, canvas.random.uniform(TUMOUR_HU - 20, TUMOUR_HU + 12))
    return np.asarray(where)


def _scan(
    hu: NDArray[np.float32], random: np.random.Generator, noise_hu: float
) -> NDArray[np.int16]:
    """Blur edges and add correlated noise, as a scanner does."""
    noise = random.normal(scale=noise_hu * 2, size=hu.shape).astype(np.float32)
    blurred = _box(hu) + _box(noise)  # the 2x2 mean halves the standard deviation
    # The range of 12 bits with an intercept of -1024, as scanners store it.
    scanned: NDArray[np.int16] = np.rint(np.clip(blurred, -1024, 3071)).astype(np.int16)
    return scanned


def _box(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean over 2x2 pixels of every slice."""
    rows = (plane + np.roll(plane, 1, axis=1)) / 2
    return np.asarray((rows + np.roll(rows, 1, axis=2)) / 2, np.float32)


def _geometry(
    shape: tuple[int, int, int], spacing_mm: tuple[float, float, float], seed: int
) -> Geometry:
    """Centre the grid on the patient's origin; DICOM's LPS, slices to the head."""
    affine = np.zeros((4, 4))
    for axis, (column, step) in enumerate(zip((2, 1, 0), spacing_mm, strict=True)):
        affine[column, axis] = step
        affine[column, 3] = -(shape[axis] - 1) / 2 * step
    affine[3, 3] = 1
    # One frame of reference per seed: different phantoms must not match.
    return Geometry(shape, affine, f"2.25.{20260000 + seed}")
