"""The names that moved to `trainer.datasets`, while their users move after them."""

from trainer.datasets.npz import read_lits, read_msd
from trainer.datasets.reading import read_slices
from trainer.datasets.slices import SIDE, Slices, concatenate
from trainer.datasets.target import Target

__all__ = ["SIDE", "Slices", "Target", "concatenate", "read_lits", "read_msd", "read_slices"]
