"""A SEG as a picture over its series."""

from collections.abc import Iterable
from pathlib import Path

import highdicom as hd
import numpy as np
from PIL import Image

from dicom_node.series.volume import read_series, to_volume
from engine.findings.contours import draw_contours
from engine.volume import Geometry, LabelMap


def draw_seg(seg: Path, sources: Iterable[Path]) -> Image.Image:
    """Return the contours of a SEG over a few slices of the series it was made from."""
    volume = to_volume(read_series(sources, pixels=False))
    return draw_contours(volume, read_labels(seg, volume.geometry))


def read_labels(seg: Path, geometry: Geometry) -> LabelMap:
    """Return the labels of a SEG on the grid of its series."""
    grid = hd.VolumeGeometry(
        geometry.affine,
        geometry.shape,
        "PATIENT",
        frame_of_reference_uid=geometry.frame_of_reference,
    )
    read = hd.seg.segread(seg).get_volume(combine_segments=True, dtype=np.uint8)
    return LabelMap(read.match_geometry(grid).array, geometry)
