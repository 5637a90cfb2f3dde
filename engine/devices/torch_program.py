"""Reading `ensemble.pt2`, and refusing one that would have to be unpickled.

torch keeps tensors in the archive as plain bytes, and only what it cannot keep so as pickles. A
model folder holds no pickle that could run code, so such an archive is no model's.
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
"""Ends the names of the archive's tables of tensors."""
SAMPLE = "data/sample_inputs/"
"""Where the inputs of the export lie, as tensors that torch pickles in its restricted form."""


def read_program(path: Path) -> ExportedProgram:
    """Return the exported program.

    Raises:
        DeviceFailed: the file is none, or holds what would have to be unpickled.
    """
    try:
        if unsafe := list(_pickles(path)):
            raise DeviceFailed(
                f"{path} holds pickles ({', '.join(unsafe)}), which could run code: export the "
                "model again"
            )
        return torch.export.load(path)
    except (OSError, zipfile.BadZipFile, RuntimeError, ValueError, KeyError) as error:
        raise DeviceFailed(f"torch cannot read {path}: {error}: export the model again") from error


def _pickles(path: Path) -> Iterator[str]:
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(CONFIGS):
                tensors = json.loads(archive.read(name))["config"]
                yield from (key for key, said in tensors.items() if said["use_pickle"])
            elif SAMPLE in name and not _plain(archive.read(name)):
                yield name


def _plain(content: bytes) -> bool:
    """Tell whether torch reads it without running anything."""
    try:
        torch.load(BytesIO(content), weights_only=True)
    except (UnpicklingError, RuntimeError):
        return False
    return True
