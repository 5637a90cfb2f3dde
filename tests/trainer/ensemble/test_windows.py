import numpy as np
import pytest
import torch

from trainer.ensemble.windows import Windows, beside, clip, equalise
from trainer.recipe.recipe import Working


def working(**settings) -> Working:
    plain = {"spacing_mm": 1.5, "size": 64, "clip_hu": (-100, 400)}
    return Working.model_validate(plain | settings)


def test_what_is_too_bright_counts_as_air():
    dropped = working(drop_above_hu=1200, windows=[(-100, 400)])
    hu = torch.tensor([[[-500.0, 0.0, 500.0, 1300.0]]])
    assert clip(hu, dropped).tolist() == [[[-100, 0, 400, -100]]]


def test_windows_come_first_and_equalised_channels_after_them():
    hu = torch.linspace(-100, 400, 64 * 64).reshape(1, 64, 64)
    seen = Windows(working(windows=[(0, 100), (0, 200)], equalised=[(-100, 400)]))(hu)
    assert seen.shape == (1, 3, 64, 64)
    torch.testing.assert_close(seen[0, 1], (hu[0] / 200).clamp(0, 1))
    torch.testing.assert_close(seen[0, 2], (hu[0] + 100) / 500, atol=0.01, rtol=0)


def test_a_flattened_histogram_is_flat():
    random = np.random.default_rng(0)
    x = torch.from_numpy(random.normal(0.5, 0.1, (2, 1, 200, 200))).float().clamp(0.001, 1)
    counts, _ = np.histogram(equalise(x)[0].numpy(), bins=8, range=(0, 1))
    assert counts.min() > 0.8 * counts.max()


def test_what_lies_outside_has_no_say_in_the_histogram():
    x = torch.rand((1, 1, 50, 50), generator=torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(x, (30, 30, 30, 30))
    torch.testing.assert_close(equalise(padded)[..., 30:80, 30:80], equalise(x))


def test_darker_stays_darker():
    x = torch.rand((1, 1, 20, 20), generator=torch.Generator().manual_seed(1))
    order = x.flatten().argsort()
    assert (equalise(x).flatten()[order].diff() >= -1e-6).all()


def test_neighbours_stand_beside_a_slice_and_the_ends_repeat_themselves():
    seen = torch.arange(4.0).reshape(4, 1, 1, 1)
    assert beside(seen, 1)[:, :, 0, 0].tolist() == [[0, 0, 1], [1, 0, 2], [2, 1, 3], [3, 2, 3]]


def test_members_must_see_something():
    with pytest.raises(ValueError, match="nothing"):
        working()
