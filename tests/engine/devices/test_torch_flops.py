"""Peak arithmetic of a device."""

import pytest

torch_flops = pytest.importorskip("engine.devices.torch_flops")


def test_the_peak_is_that_of_random_numbers_after_a_first_product(monkeypatch):
    multiplied = []

    def took(one):
        multiplied.append(one)
        return 9.0 if len(multiplied) == 1 else 0.5

    monkeypatch.setattr(torch_flops, "_seconds", took)
    monkeypatch.setattr(torch_flops, "WIDE", 8)
    assert torch_flops.peak_of("OpenVINO on a processor") == 2 * 8**3 / 0.5
    assert len(multiplied) == 1 + torch_flops.ROUNDS
    assert multiplied[0].unique().numel() > 32
