from dataclasses import dataclass, replace

import numpy as np
import pytest

from engine.acceptance.reference import check_reference
from engine.device import Answer, Device
from engine.errors import BrokenModel, DeviceFailed
from engine.serving.cpu import open_device
from engine.volume import Label


@dataclass
class Liar:
    """A device that changes what another one answers."""

    honest: Device
    pixels: int = 0
    agreement: float = 1.0
    name: str = "liar"
    batch: int = 1

    def run(self, hu, spacing_mm):
        answer = self.honest.run(hu, spacing_mm)
        labels = answer.labels.copy()
        labels.reshape(-1)[: self.pixels] ^= 1
        every_less = np.array([self.agreement, 1], np.float32)
        return Answer(labels, answer.agreement * every_less)


def test_a_device_that_answers_alike_passes(toy, toy_device):
    figures = check_reference(toy, toy_device)
    assert figures.differing_pixels == 0
    assert figures.dice == {Label.LIVER: 1.0, Label.TUMOUR: 1.0}
    assert figures.agreement == pytest.approx({Label.LIVER: 0.0, Label.TUMOUR: 0.0}, abs=1e-6)


def test_other_labels_are_refused_with_figures(toy, toy_device):
    with pytest.raises(DeviceFailed, match=r"liar .* toy 0\.1: .*% of pixels differ .*liver Dice"):
        check_reference(toy, Liar(toy_device, pixels=20))


def test_members_that_agree_less_are_refused(toy, toy_device):
    with pytest.raises(DeviceFailed, match=r"tumour agreement off by"):
        check_reference(toy, Liar(toy_device, agreement=0.9))


def test_members_whose_agreement_is_no_number_are_refused(toy, toy_device):
    with pytest.raises(DeviceFailed, match=r"liver agreement off by nan"):
        check_reference(toy, Liar(toy_device, agreement=np.nan))


def test_a_reference_that_cannot_be_read_is_a_broken_model(toy, toy_device, tmp_path):
    (tmp_path / "reference.npz").write_bytes(b"nothing")
    with pytest.raises(BrokenModel, match=r"reference\.npz"):
        check_reference(replace(toy, folder=tmp_path), toy_device)


def test_the_default_model_is_answered_as_its_reference_says(base):
    assert check_reference(base, open_device(base)).differing_pixels <= 0.001
