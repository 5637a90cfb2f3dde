"""Features of scans: the same for training slices and whole series, each of its own cause."""

import numpy as np
import pytest

from engine.findings.scan_features import MOST_PLANES, Plane, measure_features, scan_features
from engine.manifest import Feature
from engine.phantom import make_phantom
from engine.volume import Geometry, Label, LabelMap, Volume

BOUNDS = (0.0, 160.0)
LIVER = slice(60, 140)


def drawn(liver_hu=100.0, noise_hu=0.0, around_hu=60.0, side=256, pixel_mm=1.5):
    """One square slice: a liver of 80 x 80 of 256 pixels in soft tissue."""
    scale = side // 256
    hu = np.full((side, side), float(around_hu))
    liver = np.zeros((side, side), np.bool_)
    inside = slice(LIVER.start * scale, LIVER.stop * scale)
    liver[inside, inside] = True
    hu[liver] = liver_hu
    hu += np.random.default_rng(3).normal(0, noise_hu, hu.shape)
    return Plane(np.rint(hu).astype(np.int16), liver, (pixel_mm, pixel_mm))


def features(*planes, slice_mm=5.0):
    return measure_features(planes, BOUNDS, slice_mm)


def test_a_plain_liver_has_the_features_that_it_was_drawn_with():
    assert features(drawn()) == {
        Feature.LEVEL: 100,
        Feature.SPREAD: 0,
        Feature.NOISE: 0,
        Feature.VESSELS: 0,
        Feature.CONTRAST: 40,
        Feature.CUT: 0,
        Feature.PART: pytest.approx(100 * 80 * 80 / 256**2),
        Feature.FIELD: 384,
        Feature.SLICES: 5,
    }


@pytest.mark.parametrize("noise_hu", [5, 12, 25])
def test_noise_is_that_of_the_pixels(noise_hu):
    found = features(drawn(noise_hu=noise_hu))
    # A median of whole numbers is a whole or half number.
    assert found[Feature.NOISE] == pytest.approx(noise_hu, abs=0.8)
    assert found[Feature.SPREAD] == pytest.approx(noise_hu, abs=0.8)


def test_the_edge_of_the_liver_is_no_noise():
    assert features(drawn(liver_hu=150, around_hu=0))[Feature.NOISE] == 0


def test_a_fatty_patch_is_no_noise():
    plane = drawn()
    hu = plane.hu.copy()
    hu[LIVER, 60:90] = 60  # fat in a part of it
    found = features(Plane(hu, plane.liver, plane.spacing_mm))
    assert found[Feature.LEVEL] == 100
    assert found[Feature.NOISE] == 0


def test_bright_vessels_show():
    plane = drawn()
    hu = plane.hu.copy()
    hu[LIVER, 70:82] = 145
    assert features(Plane(hu, plane.liver, plane.spacing_mm))[Feature.VESSELS] == 45


def test_what_the_model_does_not_see_is_cut_and_counted():
    found = features(drawn(liver_hu=190))
    assert (found[Feature.LEVEL], found[Feature.CUT]) == (160, 100)


def test_slices_of_512_pixels_measure_as_the_same_reduced_to_256():
    fine = drawn(noise_hu=20, side=512, pixel_mm=0.75)
    # As training slices were reduced: blocks of four are averaged.
    hu = np.clip(fine.hu, *BOUNDS).reshape(256, 2, 256, 2).mean(axis=(1, 3))
    coarse = Plane(np.rint(hu).astype(np.int16), fine.liver[::2, ::2], (1.5, 1.5))
    found, expected = features(fine), features(coarse)
    assert found == {name: pytest.approx(value, abs=0.6) for name, value in expected.items()}


def test_slices_without_liver_and_unknown_sizes_say_nothing():
    nothing = Plane(np.zeros((256, 256), np.int16), np.zeros((256, 256), np.bool_), (1.0, 1.0))
    assert features(nothing) == {}
    assert features() == {}
    unknown = features(nothing, drawn(pixel_mm=float("nan")), slice_mm=float("nan"))
    assert {Feature.FIELD, Feature.SLICES}.isdisjoint(unknown)
    assert unknown[Feature.LEVEL] == 100


def test_a_series_is_measured_by_what_was_marked_in_it():
    phantom = make_phantom(3, shape=(40, 160, 160), spacing_mm=(5.0, 2.4, 2.4))
    found = scan_features(phantom.volume, phantom.truth, BOUNDS)
    liver = phantom.volume.hu[phantom.truth.labels > 0]
    assert found[Feature.LEVEL] == pytest.approx(np.median(liver), abs=4)
    assert found[Feature.SLICES] == pytest.approx(5)
    assert found[Feature.FIELD] == pytest.approx(384)


def test_a_series_is_measured_on_few_slices(monkeypatch):
    labels = np.zeros((60, 256, 256), np.uint8)
    labels[5:55, LIVER, LIVER] = Label.LIVER
    grid = Geometry(labels.shape, np.diag([3.0, 1.5, 1.5, 1.0]), "1.2")
    volume = Volume(np.broadcast_to(np.int16(100), labels.shape), grid)
    seen = []

    def note(planes, bounds, slice_mm):
        seen.extend(planes)
        return {}

    monkeypatch.setattr("engine.findings.scan_features.measure_features", note)
    scan_features(volume, LabelMap(labels, grid), BOUNDS)
    assert len(seen) == MOST_PLANES
    assert all(plane.liver.any() for plane in seen)


def test_a_series_without_liver_has_no_features():
    labels = np.zeros((3, 16, 16), np.uint8)
    grid = Geometry(labels.shape, np.eye(4), "1.2")
    volume = Volume(np.zeros(labels.shape, np.int16), grid)
    assert scan_features(volume, LabelMap(labels, grid), BOUNDS) == {}
