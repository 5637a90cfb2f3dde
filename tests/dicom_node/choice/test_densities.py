from dataclasses import replace

import numpy as np
import pytest

from dicom_node.choice.contrast_phase import UNKNOWN, Phase
from dicom_node.choice.densities import Densities, densities, measured_phase
from dicom_node.results.phantom import write_series
from engine.phantom import make_phantom
from engine.volume import Label, LabelMap
from tests.dicom_node.node_process import Thresholds


@pytest.mark.parametrize(
    ("liver_hu", "veins_hu", "phase"),
    [
        *((60, 45, Phase.NATIVE), (65, 80, Phase.NATIVE), (89, 108, Phase.NATIVE)),
        *((78, 130, Phase.ARTERIAL), (89, 109, Phase.ARTERIAL)),
        *((115, 170, Phase.PORTAL), (90, 110, Phase.PORTAL), (143, 178, Phase.PORTAL)),
        *((100, 112, Phase.DELAYED), (90, 109, Phase.DELAYED)),
    ],
)
def test_liver_and_veins_show_the_phase(liver_hu, veins_hu, phase):
    found = Densities(liver_hu, veins_hu).phase
    assert found.phase is phase
    assert found.by == f"liver {liver_hu} HU, its veins {veins_hu} HU"


def drawn(liver_hu, veins_hu):
    """A phantom whose liver has veins: every twelfth column of pixels, on every slice."""
    made = make_phantom(shape=(20, 96, 96), spacing_mm=(10, 4, 4), noise_hu=3, tumours=0)
    liver = made.truth.labels == Label.LIVER
    hu = np.where(liver, np.int16(liver_hu), made.volume.hu)
    hu[:, :, ::12] = np.where(liver[:, :, ::12], np.int16(veins_hu), hu[:, :, ::12])
    return replace(made, volume=replace(made.volume, hu=hu))


@pytest.mark.parametrize(("liver_hu", "veins_hu"), [(60, 40), (80, 140), (118, 170), (100, 112)])
def test_densities_are_measured_in_the_liver_that_is_marked(liver_hu, veins_hu):
    made = drawn(liver_hu, veins_hu)
    found = densities(made.volume, made.truth)
    assert found.liver_hu == liver_hu
    assert found.veins_hu == max(liver_hu, veins_hu)


def test_noise_and_metal_are_no_veins():
    made = drawn(60, 60)
    hu = made.volume.hu + np.random.default_rng(1).normal(0, 10, made.volume.hu.shape)
    hu[:, ::9, ::9] = 2000
    volume = replace(made.volume, hu=hu.astype(np.int16))
    found = densities(volume, made.truth)
    assert found.veins_hu < 85
    fine = replace(volume.geometry, affine=volume.geometry.affine @ np.diag([1, 0.25, 0.25, 1]))
    label_map = LabelMap(made.truth.labels, fine)
    averaged = densities(replace(volume, geometry=fine), label_map)
    assert averaged.veins_hu < 75


def test_a_little_liver_has_no_densities():
    made = drawn(100, 100)
    labels = np.where(
        np.cumsum(made.truth.labels == 1).reshape(made.truth.labels.shape) > 499, 0, 1
    )
    label_map = LabelMap(labels.astype(np.uint8) * (made.truth.labels == 1), made.volume.geometry)
    assert densities(made.volume, label_map) is None


class Wide(Thresholds):
    """Marks what is as dense as a liver with its veins, and counts the slices it was given."""

    slices = 0

    def run(self, hu, spacing_mm):
        self.slices += len(hu)
        answer = super().run(hu, spacing_mm)
        return replace(answer, labels=((hu >= 75) & (hu <= 200)).astype(np.uint8))


@pytest.fixture
def write(tmp_path):
    return lambda made: write_series(made, "series", tmp_path / "series")


def test_the_phase_of_a_series_is_measured_on_a_few_slices(write):
    device = Wide()
    found = measured_phase(write(drawn(118, 170)), device)
    assert found.phase is Phase.PORTAL
    assert found.by.startswith("liver 118 HU, its veins 1")
    assert device.slices <= 3 * 9


def test_a_series_without_a_liver_or_a_stack_has_no_measured_phase(write):
    made = drawn(118, 170)
    air = replace(made.volume, hu=np.full_like(made.volume.hu, -1000))
    paths = write(replace(made, volume=air))
    assert measured_phase(paths, Wide()) is UNKNOWN
    assert measured_phase(paths[:1], Wide()) is UNKNOWN
