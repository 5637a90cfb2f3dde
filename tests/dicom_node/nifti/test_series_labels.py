"""Labels of a DICOM series lie at the same points of the patient in NIfTI."""

import numpy as np
import pytest
import SimpleITK

from dicom_node.nifti.series_labels import encode_series_labels, is_even
from engine.volume import Geometry, LabelMap

AFFINE = np.array(
    # slice, row, column to x, y, z; a tilted gantry: the step between slices also runs to the back
    [[0.0, 0, 0.7, -100], [0.6, 0.8, 0, -90], [2.4, 0, 0, 50], [0, 0, 0, 1]]
)


@pytest.fixture
def labels():
    values = np.random.default_rng(3).integers(0, 3, (5, 7, 6)).astype(np.uint8)
    return LabelMap(values, Geometry((5, 7, 6), AFFINE, "1.2.3"))


def test_every_voxel_lies_where_the_series_has_it(labels, tmp_path):
    """nibabel reads the file; its affine leads to RAS, so that x and y are turned back."""
    import nibabel

    (tmp_path / "labels.nii.gz").write_bytes(encode_series_labels(labels))
    image = nibabel.load(tmp_path / "labels.nii.gz")
    values = np.asarray(image.dataobj)
    assert values.dtype == np.uint8
    for slice_, row, column in np.ndindex(5, 7, 6):
        at = AFFINE @ [slice_, row, column, 1]
        ras = image.affine @ [column, row, slice_, 1]
        assert np.allclose(ras[:3], [-at[0], -at[1], at[2]], atol=1e-4)
        assert values[column, row, slice_] == labels.labels[slice_, row, column]


def test_another_reader_finds_a_straight_grid_in_the_same_place(labels, tmp_path):
    straight = AFFINE.copy()
    straight[1, 0] = 0
    file = tmp_path / "labels.nii.gz"
    file.write_bytes(
        encode_series_labels(LabelMap(labels.labels, Geometry((5, 7, 6), straight, "1.2.3")))
    )
    image = SimpleITK.ReadImage(str(file))
    assert np.array_equal(SimpleITK.GetArrayFromImage(image), labels.labels)
    assert np.allclose(image.TransformIndexToPhysicalPoint((5, 6, 4)), straight[:3] @ [4, 6, 5, 1])


def test_slices_at_changing_distances_are_no_even_grid(labels):
    assert is_even(labels)
    uneven = Geometry((5, 7, 6), AFFINE, "1.2.3", (0.0, 1.0, 2.0, 4.0, 5.0))
    assert not is_even(LabelMap(labels.labels, uneven))
