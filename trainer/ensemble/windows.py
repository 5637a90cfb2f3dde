"""Hounsfield units to the channels that members see, as part of the graph."""

import torch
from torch import Tensor, nn

from trainer.datasets.cases.neighbours import offsets
from trainer.recipe.recipe import Working

BINS = 32
"""Steps of a flattened histogram."""


def clip(hu: Tensor, working: Working) -> Tensor:
    """Return HU within the recipe's bounds, what is to be dropped at the lower one."""
    low, high = working.clip_hu
    if working.drop_above_hu is not None:
        hu = torch.where(hu > working.drop_above_hu, low, hu)
    return hu.clamp(low, high)


class Windows(nn.Module):
    """(n, rows, columns) HU to (n, channels, rows, columns), each between 0 and 1.

    First come the windows, then the equalised channels; the neighbouring slices' follow the
    slice's own: one below, one above, two below and so on. Slices that come as (n, rows, columns)
    are each other's neighbours; those that come as (n, s, rows, columns) bring their own.
    """

    low: Tensor
    high: Tensor

    def __init__(self, working: Working) -> None:
        super().__init__()
        bounds = torch.tensor(working.windows + working.equalised, dtype=torch.float32)
        low, high = bounds.T[:, None, :, None, None]
        # Not in the state: they follow from the recipe, and are no weights.
        self.register_buffer("low", low.contiguous(), persistent=False)
        self.register_buffer("high", high.contiguous(), persistent=False)
        self.plain = len(working.windows)
        self.neighbours = working.neighbours

    def forward(self, hu: Tensor) -> Tensor:  # noqa: D102
        if hu.dim() == 4:
            rows, columns = hu.shape[2:]
            return self._seen(hu.flatten(0, 1)).reshape(len(hu), -1, rows, columns)
        seen = self._seen(hu)
        return beside(seen, self.neighbours) if self.neighbours else seen

    def _seen(self, hu: Tensor) -> Tensor:
        """Return the channels of slices, without their neighbours'."""
        seen: Tensor = ((hu[:, None] - self.low) / (self.high - self.low)).clamp(0, 1)
        if self.plain < seen.shape[1]:
            flat = equalise(seen[:, self.plain :])
            seen = torch.cat([seen[:, : self.plain], flat], dim=1)
        return seen


def equalise(x: Tensor) -> Tensor:
    """Return values in [0, 1] with the histogram of each slice and channel flattened.

    Every value is mapped to the share of the pixels that lie below it, by straight lines between
    `BINS` bins. Pixels at 0, outside of the window and of the slice, have no say: there would be
    little left to tell the rest apart. Written without sorting or scattering, which not every
    device has.
    """
    bins = torch.arange(BINS, dtype=x.dtype, device=x.device)
    height = (x * BINS)[..., None] - bins  # over the lower edge of each bin
    above = (height > 0).float().mean(dim=(-3, -2), keepdim=True)
    share = above - torch.nn.functional.pad(above[..., 1:], (0, 1))
    # The share of pixels above 0, over which the histogram is flattened; a slice may have none.
    inside = above[..., :1].clamp(min=1e-6)
    return (height.clamp(0, 1) * (share / inside)).sum(dim=-1)


def beside(seen: Tensor, neighbours: int) -> Tensor:
    """Return each slice's channels with those of its neighbours; the ends repeat themselves."""
    first = seen[:1].expand(neighbours, -1, -1, -1)
    last = seen[-1:].expand(neighbours, -1, -1, -1)
    padded = torch.cat([first, seen, last])
    count = seen.shape[0]
    starts = [neighbours + step for step in offsets(neighbours)]
    return torch.cat([padded[start : start + count] for start in starts], dim=1)
