"""The default model with `ensemble.pt2` beside its ONNX, for what compares with torch."""

import hashlib
import json
import shutil
from pathlib import Path

import torch

from engine.model import MANIFEST, PROGRAM, default_model_folder, load_model
from trainer.ensemble.graph import open_graph
from trainer.export.model_folder import to_program
from trainer.export.reference import answer


def with_program(folder: Path) -> Path:
    """Write the default model, weights and all, with a program; return its folder."""
    model = load_model(default_model_folder())
    graph = open_graph(model).eval()
    shutil.copytree(model.folder, folder)
    torch.export.save(to_program(graph, answer(graph)), folder / PROGRAM)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"][PROGRAM] = hashlib.sha256((folder / PROGRAM).read_bytes()).hexdigest()
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return folder
