import numpy as np
import pytest

from engine.findings.contours import COLOURS, TILE, draw_contours
from engine.phantom import make_phantom
from engine.volume import Label, LabelMap


@pytest.fixture(scope="module")
def phantom():
    return make_phantom(shape=(16, 64, 64), spacing_mm=(12.0, 6.0, 6.0))


def colours_in(picture):
    """The colours of the picture, without its legend."""
    width, height = picture.size
    shown = picture.crop((0, 0, width, height // TILE[1] * TILE[1]))
    return {colour for _, colour in shown.getcolors(1 << 24)}


def test_a_picture_shows_both_outlines_in_their_colours(phantom):
    assert set(COLOURS.values()) <= colours_in(draw_contours(phantom.volume, phantom.truth))


def test_the_colours_may_be_those_of_a_model(phantom):
    picture = draw_contours(phantom.volume, phantom.truth, colours={Label.LIVER: (1, 200, 3)})
    assert (1, 200, 3) in colours_in(picture)
    assert COLOURS[Label.TUMOUR] not in colours_in(picture)


@pytest.mark.parametrize(("slices", "lines"), [(1, 1), (3, 1), (6, 2), (100, 3)])
def test_there_are_as_many_slices_as_asked_for_if_the_liver_has_them(phantom, slices, lines):
    picture = draw_contours(phantom.volume, _first(phantom.truth, 9), slices=slices)
    assert picture.height // TILE[1] == lines


def test_a_result_without_liver_is_drawn_without_outlines(phantom):
    nothing = LabelMap(np.zeros_like(phantom.truth.labels), phantom.truth.geometry)
    picture = draw_contours(phantom.volume, nothing)
    assert not set(COLOURS.values()) & colours_in(picture)
    assert len(colours_in(picture)) > 50


def test_a_volume_of_one_tiny_slice_of_air_can_be_drawn(make_volume):
    volume = make_volume(np.full((1, 2, 3), -3024))
    assert draw_contours(volume, LabelMap(np.zeros((1, 2, 3), np.uint8), volume.geometry)).size


def _first(truth, slices):
    """Keep the labels of as many of the liver's slices."""
    liver = np.flatnonzero(truth.labels.any(axis=(1, 2)))[:slices]
    labels = np.zeros_like(truth.labels)
    labels[liver] = truth.labels[liver]
    return LabelMap(labels, truth.geometry)
