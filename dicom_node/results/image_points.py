"""Places in the patient as points on the images of a series."""

from collections.abc import Sequence

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from dicom_node.series.frames import Frame, is_multi_frame
from dicom_node.verify.planes import Plane, planes_of
from engine.findings.measure import Axis, Point

FIRST_CENTRE = 0.5
"""Column and row of the centre of the first pixel: an image begins at its outer edge (PS3.3
C.18.6.1.1)."""
# Of a pixel. Graphic Data is single precision (FL): beyond column 1000, a fifth digit would be
# noise.
DECIMALS = 4


class ImagePoints:
    """Finds the image in which a place of the patient lies, and where in it."""

    def __init__(self, sources: Sequence[Dataset], frames: Sequence[Frame] | None = None) -> None:
        """Take all images of the sources, or only `frames` where they hold other stacks too."""
        own = {_key(frame) for frame in frames} if frames else None
        planes = planes_of(sources)
        self._planes = [
            plane for plane in planes if own is None or (plane.instance_uid, plane.frame) in own
        ]
        self._classes = {str(each.SOPInstanceUID): each.SOPClassUID for each in sources}

    def line(self, axis: Axis) -> hd.sr.CoordinatesForMeasurement:
        """Return both ends of a diameter as a line on their image.

        Args:
            axis: ends in millimetres in LPS, both in one slice.
        """
        # The nearest, not one at distance 0: positions are rounded, and a tilted gantry's planes
        # are no multiples of a step.
        plane = min(self._planes, key=lambda each: _distance_mm(each, axis[0]))
        image = hd.sr.SourceImageForRegion(
            self._classes[plane.instance_uid],
            plane.instance_uid,
            [plane.frame] if plane.frame else None,
        )
        points = np.array([_column_and_row(plane, end) for end in axis])
        return hd.sr.CoordinatesForMeasurement(
            hd.sr.GraphicTypeValues.POLYLINE, np.round(points, DECIMALS), image
        )


def _key(frame: Frame) -> tuple[str, int | None]:
    number = frame.number if is_multi_frame(frame.instance) else None
    return frame.text("SOPInstanceUID"), number


def _distance_mm(plane: Plane, place: Point) -> float:
    normal = np.cross(plane.affine[:3, 1], plane.affine[:3, 0])
    apart = np.array(place) - plane.affine[:3, 2]
    return float(abs(normal @ apart) / np.linalg.norm(normal))


def _column_and_row(plane: Plane, place: Point) -> NDArray[np.float64]:
    apart = np.array(place) - plane.affine[:3, 2]
    # Pseudo-inverse: three coordinates, two unknowns; what lies off the plane is dropped.
    row, column = np.linalg.pinv(plane.affine[:3, :2]) @ apart
    return np.array([column, row]) + FIRST_CENTRE
