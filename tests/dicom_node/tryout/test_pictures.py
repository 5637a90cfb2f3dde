"""Pictures of a slice have the proportions of the patient, and contours lie where labels end."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from dicom_node.pipeline.scan_file import ScanSlice
from dicom_node.tryout.pictures import LONGEST, contours_png, grey_jpeg, shown_size
from engine.findings.contours import COLOURS
from engine.volume import Label

EMPTY = ScanSlice(np.full((32, 32), 90, np.uint8), np.zeros((32, 32), np.uint8))


def drawn(content):
    return np.asarray(Image.open(BytesIO(content)))


@pytest.mark.parametrize(
    ("rows_mm", "columns_mm", "size"),
    [(300, 300, (LONGEST, LONGEST)), (150, 300, (LONGEST, LONGEST // 2)), (300, 1, (3, LONGEST))],
)
def test_the_longer_side_has_the_same_length_in_every_picture(rows_mm, columns_mm, size):
    assert shown_size(rows_mm, columns_mm) == size
    assert drawn(grey_jpeg(EMPTY, size)).shape == size[::-1]


def test_grey_values_are_kept():
    assert np.abs(drawn(grey_jpeg(EMPTY, (64, 64))).astype(int) - 90).max() <= 1


def test_a_slice_without_labels_has_transparent_contours():
    assert not drawn(contours_png(EMPTY, (64, 64))).any()


def test_each_label_is_outlined_in_its_colour_and_tumours_are_part_of_the_liver():
    labels = np.zeros((32, 32), np.uint8)
    labels[8:24, 8:24] = Label.LIVER
    labels[8:14, 8:14] = Label.TUMOUR  # at the edge of the liver
    picture = drawn(contours_png(ScanSlice(EMPTY.grey, labels), (320, 320)))
    liver, tumour = (np.all(picture[..., :3] == COLOURS[each], axis=2) for each in COLOURS)
    rows, columns = np.nonzero(liver)
    assert (abs(rows - 80) < 8).any()
    assert (abs(columns - 239) < 8).any()
    assert tumour[79:83, 100:130].any()  # its own colour where both end
    assert tumour[100:130, 137:143].any()
    assert not picture[200, 200].any()
    assert not picture[20, 20].any()
