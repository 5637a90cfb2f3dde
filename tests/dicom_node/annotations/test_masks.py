"""Masks of a SEG on the grid of its series."""

import highdicom as hd
import numpy as np
import pytest
from pydicom.sr.codedict import codes

from dicom_node.annotations import segmentation_masks
from dicom_node.series import to_volume
from engine.volume import Label
from tests.dicom_node.drawing import seg_identity


@pytest.fixture
def fractional(ct_series):
    """A SEG that says how probable liver is in each voxel, and the grid of its series."""
    sources = ct_series(slices=3, rows=4, columns=5)
    probable = np.zeros((3, 4, 5))
    probable[1, 1, 1:4] = 0.4, 0.5, 0.6
    seg = hd.seg.Segmentation(
        source_images=sources,
        pixel_array=probable,
        segmentation_type=hd.seg.SegmentationTypeValues.FRACTIONAL,
        segment_descriptions=[
            hd.seg.SegmentDescription(
                1,
                "Liver",
                codes.SCT.Organ,
                codes.SCT.Liver,
                hd.seg.SegmentAlgorithmTypeValues.MANUAL,
            )
        ],
        **seg_identity(),
        max_fractional_value=100,
    )
    return seg, to_volume(sources).geometry


def test_a_voxel_that_is_rather_not_liver_is_not_marked(fractional):
    seg, grid = fractional
    mask = segmentation_masks(seg, grid)[Label.LIVER]
    assert [tuple(map(int, at)) for at in np.argwhere(mask)] == [(1, 1, 2), (1, 1, 3)]
