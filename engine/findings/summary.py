"""Figures of one volume for a table: its grid, volumes, and where each lesion lies."""

from dataclasses import dataclass

import numpy as np

from engine.findings.certainty import Certainty, Probability, VolumeInterval
from engine.findings.measure import Lesion, Measurements
from engine.segmentation.cleaning import box_of
from engine.volume import Geometry, LabelMap

MOST_LESIONS = 30
"""Lesions in a summary, the largest; noise can have thousands."""
THIRDS = (("right", "central", "left"), ("anterior", "", "posterior"), ("lower", "", "upper"))
"""Words for each third of the liver's extent, along x, y and z of the patient (DICOM's LPS, where x
runs to the left and y to the back)."""


@dataclass(frozen=True)
class LesionSummary:
    """Figures of one lesion."""

    number: int
    """From 1, largest first."""
    position: str
    """Thirds of the liver in which its centre lies; no segments of Couinaud."""
    volume_ml: float
    longest_mm: float
    perpendicular_mm: float
    mean_hu: float
    slice_number: int
    """Slice of the diameters, from 1 at the foot."""
    z_mm: float
    """Where that slice is cut by the longest diameter, along z of the patient."""
    probability: Probability | None = None
    """That an expert draws a tumour there; None where that is not stated."""


@dataclass(frozen=True)
class Summary:
    """Figures of one volume."""

    slices: int
    rows: int
    columns: int
    spacing_mm: tuple[float, float, float]
    """Between slices, between rows and between columns."""
    liver_ml: float
    """Volume of the liver including tumours."""
    tumour_ml: float
    burden_percent: float
    """Percentage of the liver that is tumour."""
    lesions: tuple[LesionSummary, ...]
    """The largest of them."""
    hidden: int = 0
    """Number of smaller lesions that are not in the table."""
    liver_interval: VolumeInterval | None = None
    tumour_interval: VolumeInterval | None = None
    certainty_notes: tuple[str, ...] = ()
    """What probabilities and intervals rest on, or why there are none; empty where the model states
    nothing on that."""

    @property
    def has_probabilities(self) -> bool:
        """Whether any lesion in the table has one."""
        return any(each.probability for each in self.lesions)


def summarize(
    measured: Measurements,
    label_map: LabelMap,
    most: int = MOST_LESIONS,
    certainty: Certainty | None = None,
) -> Summary:
    """Return the figures of a volume that contains liver, and of its `most` largest lesions.

    Args:
        measured: of the label map.
        label_map: the result.
        most: lesions in the table.
        certainty: of the result; None if the model states nothing on that.
    """
    grid, extent, shown = label_map.geometry, _extent(label_map), measured.lesions[:most]
    return Summary(
        *grid.shape,
        spacing_mm=grid.spacing,
        liver_ml=measured.liver_ml,
        tumour_ml=measured.tumour_ml,
        burden_percent=measured.burden_percent,
        lesions=tuple(_lesion(lesion, grid, extent, certainty) for lesion in shown),
        hidden=len(measured.lesions) - len(shown),
        liver_interval=certainty.liver if certainty else None,
        tumour_interval=certainty.tumour if certainty else None,
        certainty_notes=certainty.notes if certainty else (),
    )


def _lesion(
    lesion: Lesion, grid: Geometry, extent: "_Extent", certainty: Certainty | None
) -> LesionSummary:
    place = lesion.axes[0][0]
    return LesionSummary(
        lesion.number,
        extent.position(lesion),
        lesion.region.volume_ml,
        lesion.longest_mm,
        lesion.perpendicular_mm,
        lesion.region.mean_hu,
        _slice_number(place, grid),
        place[2],
        certainty.lesions.get(lesion.number) if certainty else None,
    )


def _slice_number(point: tuple[float, float, float], grid: Geometry) -> int:
    """Return the slice nearest to a point; slices may lie at changing distances."""
    step = float((np.linalg.inv(grid.affine) @ [*point, 1])[0])
    return 1 + min(range(grid.shape[0]), key=lambda index: abs(grid.place(index) - step))


@dataclass(frozen=True)
class _Extent:
    """Box around the liver in the patient, by which places in it are named."""

    low: tuple[float, ...]
    high: tuple[float, ...]

    def position(self, lesion: Lesion) -> str:
        """Name the thirds of the liver in which a lesion lies."""
        words = []
        for place, low, high, names in zip(lesion.centre, self.low, self.high, THIRDS, strict=True):
            # A liver of one slice has no extent along z.
            part = (place - low) / (high - low) if high > low else 0.5
            # At the far end `part` is 1 and its third would be number 3.
            words.append(names[min(2, max(0, int(part * 3)))])
        return ", ".join(filter(None, words))


def _extent(label_map: LabelMap) -> _Extent:
    box, grid = box_of(label_map.labels), label_map.geometry
    assert box is not None, "a summary is made of a volume that contains liver"
    ends = np.array([[span.start, span.stop - 1] for span in box], float).T
    # The affine takes places of slices, which are their indices only on an even grid.
    ends[:, 0] = [grid.place(index) for index in ends[:, 0]]
    corners = (grid.affine @ np.c_[ends, np.ones(2)].T)[:3]
    return _Extent(tuple(corners.min(axis=1).tolist()), tuple(corners.max(axis=1).tolist()))
