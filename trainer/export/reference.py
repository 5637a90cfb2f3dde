"""Reference of a model: slices of a phantom and the float32 graph's answer to them.

No patient's image travels with a model.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.phantom import make_phantom
from engine.volume import Label
from trainer.ensemble.graph import EnsembleGraph

SEEDS = (8, 10, 14)
"""Phantoms with large tumours in the slices that are taken."""
# Rows and columns differ, in number and in spacing, so that swapped axes show.
SPACING_MM = (25.0, 1.3, 1.25)


@dataclass(frozen=True, eq=False)
class Reference:
    """Slices of a phantom, and what the float32 graph answers in torch."""

    hu: Tensor
    spacing: Tensor
    labels: NDArray[np.uint8]
    agreement: NDArray[np.float32]

    @property
    def tumour_pixels(self) -> int:
        """Pixels that the graph takes for tumour."""
        return int(np.count_nonzero(self.labels == Label.TUMOUR))


def answer(graph: EnsembleGraph) -> Reference:
    """Answer the phantom, of a few, in which the graph marks most tumour.

    Where it marks a few pixels only, one of them decides whether a device may serve.
    """
    return max(_answers(graph), key=lambda each: each.tumour_pixels)


def _answers(graph: EnsembleGraph) -> Iterator[Reference]:
    spacing = torch.tensor(SPACING_MM[1:], dtype=torch.float32)
    for seed in SEEDS:
        hu = _slices(seed)
        with torch.inference_mode():
            labels, agreement = graph(hu, spacing)
        yield Reference(hu, spacing, labels.numpy(), agreement.numpy())


@cache
def _slices(seed: int) -> Tensor:
    # Small, as every device answers it at every start.
    phantom = make_phantom(seed, shape=(8, 288, 320), spacing_mm=SPACING_MM, tumours=4)
    # The middle: at the ends there is no liver. float16 holds these HU exactly.
    return torch.from_numpy(phantom.volume.hu[2:7]).half()


def write_reference(reference: Reference, path: Path) -> None:
    """Keep the slices and the answers."""
    np.savez_compressed(
        path,
        hu=reference.hu.numpy(),
        spacing=reference.spacing.numpy(),
        labels=reference.labels,
        agreement=reference.agreement,
    )
