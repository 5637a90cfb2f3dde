import numpy as np
import pytest
import torch
from scipy import ndimage

from trainer.synthetic.planes import REACH, blurred, clouds, distances


def test_distances_are_exact_as_far_as_they_reach():
    mask = np.random.default_rng(0).random((2, 3, 48, 40)) > 0.995
    mask[0, 0] = False
    found = distances(torch.from_numpy(mask)).numpy()
    for plane, distance in zip(mask.reshape(-1, 48, 40), found.reshape(-1, 48, 40), strict=True):
        exact = ndimage.distance_transform_edt(~plane) if plane.any() else np.full((48, 40), np.inf)
        near = exact <= REACH
        np.testing.assert_allclose(distance[near], exact[near], rtol=1e-6)
        assert np.isinf(distance[~near]).all()


@pytest.mark.parametrize("shape", [(48, 40), (41, 33)])
def test_planes_are_blurred_as_by_scipy_each_by_its_own_deviation(shape):
    planes = np.random.default_rng(0).random((2, *shape)).astype(np.float32)
    sigma = torch.tensor([1.0, 3.0])[:, None, None]
    after = blurred(torch.from_numpy(planes), sigma).numpy()
    for plane, blur, each in zip(planes, after, (1.0, 3.0), strict=True):
        np.testing.assert_allclose(
            blur, ndimage.gaussian_filter(plane, each, mode="wrap"), atol=0.01
        )


def test_clouds_are_smooth_normal_and_independent():
    sigma = torch.tensor([1.0, 2.0])[:, None, None]
    made = clouds((2, 96, 96), sigma, torch.Generator().manual_seed(0))
    assert made.shape == (2, 2, 96, 96)
    torch.testing.assert_close(made.mean((-2, -1)), torch.zeros(2, 2), atol=1e-5, rtol=0)
    torch.testing.assert_close(made.square().mean((-2, -1)), torch.ones(2, 2))
    assert float((made[0] * made[1]).mean(dim=(-2, -1)).abs().max()) < 0.2
    # White noise blurred by s is correlated by exp(-d^2 / 4 s^2) over d pixels.
    beside = (made[..., 1:] * made[..., :-1]).mean((-2, -1)).mean(0)
    torch.testing.assert_close(beside, torch.exp(-1 / (4 * sigma[:, 0, 0] ** 2)), atol=0.03, rtol=0)
