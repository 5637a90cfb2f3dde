import shutil
from io import BytesIO

import numpy as np
import pytest
from pydicom import dcmread

from dicom_node.errors import ResultMismatch
from dicom_node.results.rtstruct import outline_points, to_rtstruct
from dicom_node.results.seg import encode
from dicom_node.verify.rtstruct import verify_rtstruct
from engine.volume import Label
from tests.dicom_node.drawing import RUN, draw_case
from tests.system.judges import on_grid, read_by_plastimatch


@pytest.fixture
def case(ct_series):
    return draw_case(ct_series(slices=9, rows=20, columns=24))


def outlines(case):
    return encode(to_rtstruct(case.label_map, case.sources, run=RUN))


@pytest.mark.parametrize("orientation", [[1, 0, 0, 0, 1, 0], [1, 0, 0, 0, -1, 0]])
def test_outlines_fill_to_the_labels_also_with_holes_specks_and_edges(ct_series, orientation):
    sources = ct_series(slices=9, rows=20, columns=24, spacing_mm=(2.0, 0.7265625, 0.7265625))
    for source in sources:
        source.ImageOrientationPatient = orientation
    case = draw_case(sources)
    noise = np.random.default_rng(0).random(case.label_map.labels.shape) > 0.6
    case.label_map.labels[noise] = Label.LIVER
    verify_rtstruct(outlines(case), case.sources, case.label_map)


def test_one_pixel_has_an_outline_of_half_its_area():
    mask = np.zeros((5, 5), np.bool_)
    mask[2, 3] = True
    (points,) = outline_points(mask)
    assert {tuple(point) for point in points} == {(1.5, 3), (2.5, 3), (2, 2.5), (2, 3.5)}


def test_the_liver_is_the_whole_organ_and_each_lesion_a_region_of_its_own(case):
    read = dcmread(BytesIO(outlines(case)))
    names = [region.ROIName for region in read.StructureSetROISequence]
    assert names == ["Liver", "Lesion 1", "Lesion 2", "Lesion 3"]
    assert {region.ROIGenerationAlgorithm for region in read.StructureSetROISequence} == {
        "AUTOMATIC"
    }
    assert read.ApprovalStatus == "UNAPPROVED"


def test_every_outline_lies_on_an_image_of_the_series(case):
    read = dcmread(BytesIO(outlines(case)))
    heights = {each.SOPInstanceUID: each.ImagePositionPatient[2] for each in case.sources}
    assert read.ROIContourSequence
    for region in read.ROIContourSequence:
        assert region.ContourSequence
        for outline in region.ContourSequence:
            z = set(outline.ContourData[2::3])
            assert z == {heights[outline.ContourImageSequence[0].ReferencedSOPInstanceUID]}
            assert 3 * outline.NumberOfContourPoints == len(outline.ContourData)


@pytest.mark.skipif(not shutil.which("plastimatch"), reason="needs Debian's plastimatch")
def test_another_toolkit_fills_the_outlines_to_the_same_masks(case, tmp_path):
    images, file = tmp_path / "images", tmp_path / "outlines.dcm"
    images.mkdir()
    for number, source in enumerate(case.sources):
        source.save_as(images / f"{number}.dcm", enforce_file_format=True)
    file.write_bytes(outlines(case))
    filled = {
        name: on_grid(image, case.label_map.geometry)
        for name, image in read_by_plastimatch(file, images, tmp_path).items()
    }
    labels = case.label_map.labels
    np.testing.assert_array_equal(filled.pop("Liver"), labels > 0)
    assert sorted(filled) == ["Lesion 1", "Lesion 2", "Lesion 3"]
    np.testing.assert_array_equal(sum(filled.values()), labels == Label.TUMOUR)


def test_outlines_of_other_labels_do_not_pass(case):
    file = outlines(case)
    case.label_map.labels[4, 3, 3] ^= 1
    with pytest.raises(ResultMismatch, match="region 1 differs in slice 4 in 1 pixels"):
        verify_rtstruct(file, case.sources, case.label_map)


def test_a_lesion_that_is_not_outlined_does_not_pass(case):
    read = dcmread(BytesIO(outlines(case)))
    del read.ROIContourSequence[-1]
    with pytest.raises(ResultMismatch, match=r"regions \[1, 2, 3\] are outlined, \[1, 2, 3, 4\]"):
        verify_rtstruct(encode(read), case.sources, case.label_map)
