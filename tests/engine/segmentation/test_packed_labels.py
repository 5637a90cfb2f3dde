import cc3d
import numpy as np
import pytest

from engine.segmentation.cleaning import clean_packed
from engine.segmentation.packed_labels import PackedLabels
from engine.segmentation.slice_vote import vote
from engine.volume import Label


def noisy(seed, shape=(9, 14, 21), specks=0.1):
    """A ball of liver with a ball of tumour, and labels at random over it."""
    random = np.random.default_rng(seed)
    grid = np.indices(shape).transpose(1, 2, 3, 0) - (np.array(shape) - 1) / 2
    far = np.sqrt(((grid / (np.array(shape) / 2)) ** 2).sum(axis=-1))
    labels = (far < 0.9).astype(np.uint8) + (far < random.uniform(0, 0.6))
    flipped = random.random(shape) < specks
    return np.where(flipped, random.integers(0, 3, shape), labels).astype(np.uint8)


def plainly_voted(labels):
    marked = labels > 0
    most = marked.copy()
    most[1:-1] = marked[:-2].astype(int) + marked[1:-1] + marked[2:] >= 2
    return (np.maximum(labels, 1) * most).astype(np.uint8)


def plainly_cleaned(labels, least):
    """The clean-up as first written, voxel by voxel with cc3d."""
    pieces = numbered(labels > 0)
    liver = pieces == np.bincount(pieces.ravel())[1:].argmax() + 1
    tumour = (labels == Label.TUMOUR) & liver
    tumour |= enclosed(tumour) & (labels == Label.BACKGROUND)
    liver |= enclosed(liver)
    pieces = numbered(tumour)
    tumour &= np.bincount(pieces.ravel())[pieces] >= max(least, 1)
    return np.where(tumour, 2, liver).astype(np.uint8)


def numbered(mask):
    return cc3d.connected_components(mask, connectivity=6, binary_image=True)


def enclosed(mask):
    pieces = numbered(np.pad(~mask, 1, constant_values=True))
    return (pieces != pieces[0, 0, 0])[1:-1, 1:-1, 1:-1] & ~mask


@pytest.mark.parametrize("columns", [1, 7, 8, 9, 21])
def test_labels_come_back_as_they_were_put(columns):
    labels = np.random.default_rng(0).integers(0, 3, (5, 6, columns)).astype(np.uint8)
    packed = PackedLabels.of(labels)
    assert packed.shape == labels.shape
    np.testing.assert_array_equal(packed.labels(), labels)
    np.testing.assert_array_equal(packed.labels(2), labels[2])
    packed.put(np.array([0, 3]), labels[[1, 2]])
    np.testing.assert_array_equal(packed.labels(), labels[[1, 1, 2, 2, 4]])


@pytest.mark.parametrize("seed", range(8))
def test_the_vote_on_bits_is_that_on_voxels(seed):
    labels = noisy(seed, specks=0.3)
    np.testing.assert_array_equal(
        vote(PackedLabels.of(labels), 2.0).labels(), plainly_voted(labels)
    )


@pytest.mark.parametrize("specks", [0.0, 0.02, 0.1, 0.4, 1.0])
@pytest.mark.parametrize("least", [0, 3, 40])
def test_the_clean_up_by_runs_is_that_by_voxels(specks, least):
    for seed in range(12):
        labels = noisy(seed, specks=specks)
        cleaned = clean_packed(PackedLabels.of(labels), least)
        np.testing.assert_array_equal(cleaned.labels, plainly_cleaned(labels, least))
        assert cleaned.dropped == np.count_nonzero((labels > 0) & (cleaned.labels == 0))


@pytest.mark.parametrize("piece", [Label.LIVER, Label.TUMOUR])
def test_a_piece_within_a_hole_of_the_liver_is_not_dropped(piece):
    labels = np.zeros((9, 11, 12), np.uint8)
    labels[1:8, 1:10, 1:11] = Label.LIVER
    labels[2:7, 2:9, 2:10] = Label.BACKGROUND
    labels[4, 5, 6] = piece
    cleaned = clean_packed(PackedLabels.of(labels), 3)
    np.testing.assert_array_equal(cleaned.labels, plainly_cleaned(labels, 3))
    assert cleaned.dropped == 0
