"""Checkpoints that a crash or a full disk leaves whole."""

import io
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from engine.durable_files import write_durably

MODE = 0o644
"""Of files of a run: weights, no patient's data."""


class DurableCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside the one before, syncs it, and only then takes its place.

    Lightning writes to the folder of temporary files first. Where that is another file system, its
    move is a copy over the older checkpoint, which a full disk would leave cut.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint; `storage_options` are for other file systems."""
        save_durably(checkpoint, Path(path))


def save_durably(content: Any, path: Path) -> None:
    """Write what torch can save as a file that is whole, or as it was before.

    Raises:
        OSError: it cannot be written, for instance because the disk is full.
    """
    # In memory: a full disk is a RuntimeError of C++ where torch writes the file itself.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, buffer.getvalue(), mode=MODE)


def saved_epochs(path: Path) -> int:
    """Return how many epochs a checkpoint holds; 0 where there is none."""
    if not path.is_file():
        return 0
    # This run wrote it itself; mmap, as the weights are not looked at.
    content = torch.load(path, weights_only=False, map_location="cpu", mmap=True)
    return int(content["epoch"]) + 1
