"""Loading of `ensemble.pt2`, rejecting archives that would have to be unpickled.

torch stores tensors in the archive as plain bytes and falls back to pickle for everything else.
Unpickling can run code, and a model folder must not contain any.
"""

import json
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch.export import ExportedProgram

from engine.errors import DeviceFailed

CONFIGS = "_config.json"
"""Suffix of the archive's tables of tensors."""
SAMPLE = "data/sample_inputs/"
"""Folder of the export's sample inputs, which torch pickles in its restricted form."""


def read_program(path: Path) -> ExportedProgram:
    """Return the exported program.

    Raises:
        DeviceFailed: the file is not a program, or would have to be unpickled.
    """
    try:
        # Before torch opens the file: its loader would have unpickled by the time it returned.
        if unsafe := list(_pickles(path)):
            raise DeviceFailed(
                f"{path} holds pickles ({', '.join(unsafe)}), which could run code; export the "
                "model again"
            )
        return torch.export.load(path)
    except (OSError, zipfile.BadZipFile, RuntimeError, ValueError, KeyError) as error:
        raise DeviceFailed(f"torch cannot read {path}: {error}; export the model again") from error


def _pickles(path: Path) -> Iterator[str]:
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(CONFIGS):
                tensors = json.loads(archive.read(name))["config"]
                yield from (key for key, entry in tensors.items() if entry["use_pickle"])
            elif SAMPLE in name and not _plain(archive.read(name)):
                yield name


def _plain(content: bytes) -> bool:
    """Return whether torch can load it without running code."""
    try:
        torch.load(BytesIO(content), weights_only=True)
    except (UnpicklingError, RuntimeError):
        return False
    return True
