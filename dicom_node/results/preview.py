"""Pictures of a SEG over its series."""

from collections.abc import Iterable
from pathlib import Path

import highdicom as hd
import numpy as np
from PIL import Image
from pydicom import Dataset

from dicom_node.results.attributes.segment_description import FINDINGS
from dicom_node.series.reading import read_series
from dicom_node.series.volume import to_volume
from engine.findings.contours import draw_contours
from engine.volume import Geometry, Label, LabelMap


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
    read = hd.seg.segread(seg)
    # `match_geometry`: the SEG leaves out empty slices, and may run the other way.
    numbers = read.get_volume(combine_segments=True, dtype=np.uint16).match_geometry(grid).array
    label_of = np.zeros(int(numbers.max()) + 1, np.uint8)
    for item in read.SegmentSequence:  # segment 1 need not be the liver
        label_of[item.SegmentNumber :] = _label(item)  # numbers rise without a gap
    return LabelMap(label_of[numbers], geometry)


def _label(segment: Dataset) -> Label:
    kind = segment.SegmentedPropertyTypeCodeSequence[0].CodeValue
    return next(label for label, style in FINDINGS.items() if style.kind.value == kind)
