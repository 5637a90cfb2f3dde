"""The random generators that a process shares."""

import random

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seed the generators of Python, NumPy and torch, on every device.

    Lightning's function of this name refuses seeds of more than 32 bits and sets variables of the
    environment.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)  # libraries draw from it
    torch.manual_seed(seed)
