"""Arithmetic of a model and peak arithmetic of a device, measured with torch."""

from collections.abc import Sequence
from statistics import median
from time import perf_counter

import torch
from torch.utils.flop_counter import FlopCounterMode

from engine.devices.torch_program import read_program
from engine.model import Model

WIDE, WIDE_THERE = 2048, 8192
"""Size of the square matrices whose product measures the peak of a processor, or of a GPU."""
ROUNDS = 5


def operations(model: Model, size: Sequence[int]) -> int | None:
    """Return the floating-point operations per slice; None without `ensemble.pt2`."""
    if model.program is None:
        return None
    module = read_program(model.program).module()
    hu = torch.zeros(1, *size, dtype=torch.float16)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        module(hu, torch.ones(2))
    return int(counter.get_total_flops())


def peak_of(device: str) -> float | None:
    """Return the operations per second of a large matrix product on a device.

    Always float16 on a GPU and float32 on a processor, whatever the device's own precision.

    Args:
        device: name of the device, as in results.
    """
    there = device.startswith("TensorRT") or "cuda" in device
    if there and not torch.cuda.is_available():
        return None
    place, kind = ("cuda", torch.float16) if there else ("cpu", torch.float32)
    wide = WIDE_THERE if there else WIDE
    # Random: ones take a GPU less power, so that it runs at a higher clock than in use.
    one = torch.randn(wide, wide, device=place, dtype=kind)
    _seconds(one)
    # A multiplication and an addition for each of wide**3 terms, as FlopCounterMode counts too.
    return 2 * wide**3 / median(_seconds(one) for _ in range(ROUNDS))


def _seconds(one: torch.Tensor) -> float:
    begun = perf_counter()
    product = one @ one
    if product.is_cuda:
        # The product above is only queued.
        torch.cuda.synchronize()
    return perf_counter() - begun
