"""SEGs whose frames have no dimension indices, as OHIF saves them."""

from copy import deepcopy

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.sr.codedict import codes

from dicom_node.annotations import UnreadableDrawing, segmentation_masks
from dicom_node.series import to_volume
from engine.volume import Geometry, Label
from tests.dicom_node.drawing import seg_identity

SLICES = 6


def description(number: int, label: str, kind) -> hd.seg.SegmentDescription:
    manual = hd.seg.SegmentAlgorithmTypeValues.MANUAL
    return hd.seg.SegmentDescription(number, label, codes.SCT.Organ, kind, manual)


@pytest.fixture(params=["LABELMAP", "BINARY"])
def drawn(request, ct_series) -> tuple[Dataset, Geometry]:
    """A liver with a tumour on four of six slices, and the grid of the series."""
    sources = ct_series(slices=SLICES, rows=8, columns=8)
    labels = np.zeros((SLICES, 8, 8), np.uint8)
    for index in range(1, SLICES - 1):
        labels[index, 1:6, 1 : 3 + index] = Label.LIVER
        labels[index, 2, index] = Label.TUMOUR
    seg = hd.seg.Segmentation(
        source_images=sources,
        pixel_array=labels,
        segmentation_type=hd.seg.SegmentationTypeValues[request.param],
        segment_descriptions=[
            description(1, "Liver", codes.SCT.Liver),
            description(2, "Tumour", codes.SCT.Neoplasm),
        ],
        **seg_identity(),
    )
    return seg, to_volume(sources).geometry


def without_indices(seg: Dataset) -> Dataset:
    bare = deepcopy(seg)
    for frame in bare.PerFrameFunctionalGroupsSequence:
        del frame.FrameContentSequence
    return bare


def test_frames_without_indices_go_where_their_positions_say(drawn):
    seg, grid = drawn
    bare, expected = without_indices(seg), segmentation_masks(seg, grid)
    found = segmentation_masks(bare, grid)
    assert found.keys() == expected.keys() == {Label.LIVER, Label.TUMOUR}
    assert all(np.array_equal(found[label], expected[label]) for label in found)
    assert np.count_nonzero(found[Label.TUMOUR]) == SLICES - 2


def test_the_segmentation_that_was_read_stays_as_it_is(drawn):
    seg, grid = drawn
    bare = without_indices(seg)
    before = bare.to_json_dict()
    segmentation_masks(bare, grid)
    assert bare.to_json_dict() == before


def test_what_ohif_saved_is_read_voxel_by_voxel(shared_data):
    path = shared_data.parent / "cases/results/ohif_saved_labelmap/saved_by_ohif_3_13_2.dcm"
    if not path.is_file():
        pytest.skip(f"no {path}")
    seg = pydicom.dcmread(path)
    frames = seg.PerFrameFunctionalGroupsSequence
    positions = [frame.PlanePositionSequence[0].ImagePositionPatient for frame in frames]
    order = np.argsort([float(position[2]) for position in positions])
    marked = seg.pixel_array[order]
    masks = segmentation_masks(seg, _grid_of(seg, sorted(map(tuple, positions), key=_height)))
    assert {label: int(mask.sum()) for label, mask in masks.items()} == {
        Label.LIVER: 1310420,
        Label.TUMOUR: 373,
    }
    assert all(np.array_equal(mask, marked == label) for label, mask in masks.items())


def _height(position: tuple[float, ...]) -> float:
    return float(position[2])


def _grid_of(seg: Dataset, positions: list[tuple[float, ...]]) -> Geometry:
    """The grid of the frames alone, from the feet to the head."""
    measures = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    rows_mm, columns_mm = map(float, measures.PixelSpacing)
    affine = np.eye(4)
    affine[:3, :3] = [[0, 0, columns_mm], [0, rows_mm, 0], [0, 0, 0]]
    affine[:3, 0] = np.subtract(positions[1], positions[0]).astype(float)
    affine[:3, 3] = np.array(positions[0], float)
    shape = (len(positions), int(seg.Rows), int(seg.Columns))
    return Geometry(shape, affine, str(seg.FrameOfReferenceUID))


def test_a_segment_that_nobody_named_is_refused_where_something_is_marked(drawn):
    """A viewer's "Add segment": it may be a lesion, and must not be learnt as none."""
    seg, grid = drawn
    added = deepcopy(seg)
    segment = next(each for each in added.SegmentSequence if each.SegmentNumber == 2)
    segment.SegmentLabel = "Segment 2"
    segment.SegmentedPropertyTypeCodeSequence[0].CodeValue = "85756007"  # Tissue
    with pytest.raises(UnreadableDrawing, match="segment 2 is marked and still has the name"):
        segmentation_masks(added, grid)
    segment.SegmentLabel = "Lesion 1"
    assert segmentation_masks(added, grid).keys() == {Label.LIVER, Label.TUMOUR}
