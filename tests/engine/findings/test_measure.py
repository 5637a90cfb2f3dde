import numpy as np
import pytest

from engine.errors import TooManyLesions
from engine.findings.measure import Measurements, measure, number_lesions, separate_lesions
from engine.volume import Geometry, Label, LabelMap, Volume

SPACING = 2.0, 0.5, 0.8
VOXEL_ML = 2.0 * 0.5 * 0.8 / 1000


@pytest.fixture
def case():
    """A liver of 60 HU with lesions of 10, 2 and 2 voxels, the last two of 20 and 30 HU."""
    shape = (10, 20, 30)
    affine = np.diag([*SPACING, 1.0])[[2, 1, 0, 3]]  # (slice, row, column) to x, y, z
    affine[:3, 3] = -100, -50, 7
    labels, hu = np.zeros(shape, np.uint8), np.full(shape, -1000, np.int16)
    labels[2:8, 5:15, 5:25], hu[2:8, 5:15, 5:25] = Label.LIVER, 60
    for place, density in (
        (np.s_[6, 8:10, 10:15], 5),
        (np.s_[3, 6, 8:10], 20),
        (np.s_[4:6, 12, 20], 30),
    ):
        labels[place], hu[place] = Label.TUMOUR, density
    geometry = Geometry(shape, affine, "1.2.3")
    return Volume(hu, geometry), LabelMap(labels, geometry)


def test_volumes_are_those_of_the_label_map(case):
    volume, label_map = case
    found = measure(volume, label_map)
    assert found.liver.volume_ml == pytest.approx(label_map.millilitres(Label.LIVER))
    assert found.tumour_ml == pytest.approx(label_map.millilitres(Label.TUMOUR))
    assert found.liver_ml == pytest.approx(found.liver.volume_ml + found.tumour_ml)
    assert found.burden_percent == pytest.approx(100 * 14 / 1200)


def test_lesions_come_the_largest_first_and_equals_from_the_first_slice_on(case):
    found = measure(*case).lesions
    assert [lesion.number for lesion in found] == [1, 2, 3]
    assert [lesion.region.volume_ml / VOXEL_ML for lesion in found] == pytest.approx([10, 2, 2])
    assert [lesion.region.mean_hu for lesion in found] == [5, 20, 30]
    assert [lesion.slices for lesion in found] == [(6, 6), (3, 3), (4, 5)]


def test_a_lesion_is_where_it_was_drawn_in_the_patient(case):
    first, _, last = measure(*case).lesions
    assert first.centre == pytest.approx((-100 + 12 * 0.8, -50 + 8.5 * 0.5, 7 + 6 * 2.0))
    assert last.centre == pytest.approx((-100 + 20 * 0.8, -50 + 12 * 0.5, 7 + 4.5 * 2.0))


def test_diameters_are_those_of_the_slice_where_a_lesion_is_longest(case):
    volume, label_map = case
    label_map.labels[7, 8, 8:17] = Label.TUMOUR
    lesion = measure(volume, label_map).lesions[0]
    assert lesion.slices == (6, 7)
    assert (lesion.longest_mm, lesion.perpendicular_mm) == pytest.approx((9 * 0.8, 0.5))


def test_the_deviation_is_that_of_the_voxels(case):
    volume, label_map = case
    noise = np.random.default_rng(0).normal(0, 12, volume.hu.shape).round().astype(np.int16)
    volume.hu[...] += noise
    found = measure(volume, label_map)
    assert found.liver.sd_hu == pytest.approx(volume.hu[label_map.labels == 1].std())
    assert found.lesions[0].region.sd_hu == pytest.approx(volume.hu[6, 8:10, 10:15].std())


def test_pieces_that_touch_at_an_edge_only_are_two_lesions(case):
    volume, label_map = case
    label_map.labels[7, 10, 14] = Label.TUMOUR  # below and beside the largest
    assert len(measure(volume, label_map).lesions) == 4


def test_the_numbers_of_lesions_are_those_of_the_measurements(case):
    volume, label_map = case
    numbers = number_lesions(label_map)
    for lesion in measure(volume, label_map).lesions:
        mask = numbers == lesion.number
        assert np.count_nonzero(mask) * VOXEL_ML == pytest.approx(lesion.region.volume_ml)
    assert ((numbers > 0) == (label_map.labels == Label.TUMOUR)).all()


def test_lesions_beyond_255_have_a_value_of_their_own():
    labels = np.full((3, 40, 60), Label.LIVER, np.uint8)
    labels[1, 1::3, 1::3] = Label.TUMOUR  # 13 x 20 = 260 lesions of one voxel
    labels[1, 1, 1:3] = Label.TUMOUR  # the largest
    label_map = LabelMap(labels, Geometry(labels.shape, np.eye(4), "1.2.3"))
    assert number_lesions(label_map).max() == 260
    separate = separate_lesions(label_map).labels
    assert separate[1, 1, 1] == separate[1, 1, 2] == 2
    np.testing.assert_array_equal(separate > Label.LIVER, labels == Label.TUMOUR)
    values, counts = np.unique(separate, return_counts=True)
    assert values.tolist() == list(range(1, 262))
    assert counts[1] == 2
    assert set(counts[2:].tolist()) == {1}


@pytest.mark.parametrize(("lesions", "width"), [(254, np.uint8), (255, np.uint16)])
def test_labels_are_as_wide_as_the_lesions_ask_for(lesions, width):
    labels = np.full((1, 40, 60), Label.LIVER, np.uint8)
    places = [(row, column) for row in range(1, 39, 2) for column in range(1, 59, 2)]
    for row, column in places[:lesions]:
        labels[0, row, column] = Label.TUMOUR
    separate = separate_lesions(LabelMap(labels, Geometry(labels.shape, np.eye(4), "1.2.3")))
    assert separate.labels.dtype == width
    assert separate.labels.max() == lesions + 1


def test_more_lesions_than_a_segmentation_can_number_are_refused():
    labels = np.zeros((1, 512, 260), np.uint8)
    labels[0, ::2, ::2] = labels[0, 1::2, 1::2] = Label.TUMOUR  # 2 x 256 x 130, by their edges only
    with pytest.raises(TooManyLesions, match="66560 separate pieces of tumour, 65534 can be"):
        separate_lesions(LabelMap(labels, Geometry(labels.shape, np.eye(4), "1.2.3")))


def test_without_labels_there_is_nothing_to_measure(case):
    volume, label_map = case
    label_map.labels[...] = Label.BACKGROUND
    assert measure(volume, label_map) == Measurements(0.0, None, ())
    assert not number_lesions(label_map).any()


def test_a_liver_without_tumours_has_no_lesions(case):
    volume, label_map = case
    label_map.labels[label_map.labels == Label.TUMOUR] = Label.LIVER
    assert measure(volume, label_map).lesions == ()
    assert measure(volume, label_map).burden_percent == 0
