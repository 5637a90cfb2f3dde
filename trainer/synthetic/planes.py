"""Blurs, distances and smooth noise of many planes at once, on the device that they lie on.

Nothing here waits for the device, or reads a value of it on the host.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

REACH = 10
"""Pixels up to which distances are exact; what is further away is infinitely far."""
FAR = 30_000
"""Square of an infinite distance; with `REACH` squared it still fits into int16."""


def blurred(planes: Tensor, sigma: Tensor | float) -> Tensor:
    """Return float32 planes (..., rows, columns), blurred by a Gaussian as if they went on in a
    circle.

    Args:
        planes: of any dtype.
        sigma: its deviation in pixels; a tensor has two axes of length 1 in the end.
    """
    rows, columns = planes.shape[-2:]
    spectrum = (
        torch.fft.rfft2(planes.float())
        * _gaussian(rows, columns, sigma, planes.device)[..., : columns // 2 + 1]
    )
    smooth: Tensor = torch.fft.irfft2(spectrum, s=(rows, columns))
    return smooth


def clouds(shape: tuple[int, int, int], sigma: Tensor, random: torch.Generator) -> Tensor:
    """Return two planes of smooth noise for each of n: (2, n, rows, columns), each of mean 0 and
    deviation 1.

    Args:
        shape: n, rows and columns.
        sigma: (n, 1, 1) how smooth, in pixels.
        random: the source of all chance.
    """
    # White noise is white noise in any basis: its transform need not be computed to be drawn.
    parts = torch.randn((2, *shape), generator=random, device=sigma.device)
    spectrum = torch.complex(parts[0], parts[1]) * _gaussian(*shape[1:], sigma, sigma.device)
    smooth = torch.fft.ifft2(spectrum)
    both = torch.stack([smooth.real, smooth.imag])
    both = both - both.mean((-2, -1), keepdim=True)
    return both / both.square().mean((-2, -1), keepdim=True).sqrt().clamp(min=1e-6)


def distances(mask: Tensor) -> Tensor:
    """Return the distance in pixels of each pixel from the nearest in `mask`: exact up to `REACH`,
    infinite beyond.
    """
    squares = torch.where(mask, 0, FAR).to(torch.int16)
    offsets = torch.arange(-REACH, REACH + 1, device=mask.device, dtype=torch.int16).square()
    for axis in (-1, -2):
        # First along rows, then across them: squares of the two legs add up.
        sides = (REACH, REACH) if axis == -1 else (0, 0, REACH, REACH)
        near = pad(squares, sides, value=FAR).unfold(axis, 2 * REACH + 1, 1)
        squares = (near + offsets).amin(-1).clamp(max=FAR)
    return squares.float().sqrt().masked_fill(squares > REACH**2, math.inf)


def _gaussian(rows: int, columns: int, sigma: Tensor | float, place: torch.device) -> Tensor:
    """Return a Gaussian's transfer function, in the order of `fft2`."""
    along = torch.fft.fftfreq(rows, device=place)[:, None]
    across = torch.fft.fftfreq(columns, device=place)
    return torch.exp(-2 * math.pi**2 * (along.square() + across.square()) * sigma * sigma)
