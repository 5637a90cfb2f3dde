"""A model so small that its answers can be checked by eye: it marks by thresholds."""

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

LIVER_HU, TUMOUR_HU = 150, 250
"""100 to 199 HU is liver, 200 to 299 HU tumour; both members agree on these."""
DISPUTED_LIVER_HU, DISPUTED_TUMOUR_HU = 105, 205
"""One of the two members marks only what is 10 HU or more above the lower bound."""


def write_toy_model(folder: Path) -> Path:
    folder.mkdir(parents=True)
    onnx.save(toy_graph(), folder / "ensemble.onnx")
    hu = np.random.default_rng(0).integers(-1024, 400, (3, 9, 11)).astype(np.float16)
    labels, agreement = toy_answer(hu, (0.8, 0.7))
    np.savez(
        folder / "reference.npz",
        hu=hu,
        spacing=np.array([0.8, 0.7], np.float32),
        labels=labels,
        agreement=agreement,
    )
    write_manifest(folder)
    return folder


def write_manifest(folder: Path, **changes: object) -> None:
    """Describe the files as they are; `changes` replace what model.json says."""
    liver, tumour = (
        {
            "label": label,
            "name": name,
            "category": {"value": "123037004", "scheme": "SCT", "meaning": "Anatomical Structure"},
            "type": {"value": code, "scheme": "SCT", "meaning": name},
            "colour_rgb": colour,
        }
        for label, name, code, colour in (
            (1, "Liver", "10200004", [221, 130, 101]),
            (2, "Tumour", "108369006", [144, 238, 144]),
        )
    )
    names = [path.name for path in folder.iterdir() if path.suffix != ".json"]
    digests = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    manifest = {
        "contract": 1,
        "name": "toy",
        "version": "0.1",
        "members": ["lenient", "strict"],
        "classes": [liver, tumour],
        "working": {"spacing_mm": 1.75, "size": [256, 256]},
        "graph": {"opset": 20, "precision": "float32"},
        "recipe": {"steps": 0},
        "data": [{"name": "Thresholds", "licence": "CC0-1.0", "attribution": "nobody"}],
        "evaluation": {"liver_dice": 1.0, "patients": {"seen": 2, "unseen": 3}},
        "files": digests,
    }
    (folder / "model.json").write_text(json.dumps(manifest | changes))


def toy_answer(hu, spacing_mm) -> tuple[np.ndarray, np.ndarray]:
    """The toy graph in NumPy."""
    liver_or_tumour = [(hu >= low) & (hu < 300) for low in (110, 100)]
    tumour = [(hu >= low) & (hu < 300) for low in (210, 200)]
    labels = liver_or_tumour[1].astype(np.uint8) + tumour[1]
    counts = [[mask.sum((1, 2)) for mask in masks] for masks in (liver_or_tumour, tumour)]
    agreement = np.array(counts, np.float32).transpose(2, 0, 1) * np.array(spacing_mm)[:, None]
    return labels, agreement.astype(np.float32)


def toy_graph() -> onnx.ModelProto:
    """Thresholds by the graph contract; agreement times spacing, so that its order shows."""
    f32 = {name: np.float32(name[1:]) for name in ("t100", "t110", "t200", "t210", "t300")}
    numbers = {"axes": np.array([1, 2]), "last": np.array([1]), "shape": np.array([-1, 2, 2])}
    nodes = [
        helper.make_node("Cast", ["hu"], ["x"], to=TensorProto.FLOAT),
        helper.make_node("Less", ["x", "t300"], ["below"]),
    ]
    sums = []
    for low in ("t110", "t100", "t210", "t200"):
        nodes += [
            helper.make_node("GreaterOrEqual", ["x", low], [f"{low}_above"]),
            helper.make_node("And", [f"{low}_above", "below"], [f"{low}_mask"]),
            helper.make_node("Cast", [f"{low}_mask"], [f"{low}_float"], to=TensorProto.FLOAT),
            helper.make_node("ReduceSum", [f"{low}_float", "axes"], [f"{low}_sum"], keepdims=0),
            helper.make_node("Unsqueeze", [f"{low}_sum", "last"], [f"{low}_column"]),
        ]
        sums.append(f"{low}_column")
    nodes += [
        helper.make_node("Add", ["t100_float", "t200_float"], ["label"]),
        helper.make_node("Cast", ["label"], ["labels"], to=TensorProto.UINT8),
        helper.make_node("Concat", sums, ["counts"], axis=1),
        helper.make_node("Reshape", ["counts", "shape"], ["pairs"]),
        helper.make_node("Unsqueeze", ["spacing", "last"], ["factors"]),
        helper.make_node("Mul", ["pairs", "factors"], ["agreement"]),
    ]
    slices = ["n", "rows", "columns"]
    graph = helper.make_graph(
        nodes,
        "toy",
        [
            helper.make_tensor_value_info("hu", TensorProto.FLOAT16, slices),
            helper.make_tensor_value_info("spacing", TensorProto.FLOAT, [2]),
        ],
        [
            helper.make_tensor_value_info("labels", TensorProto.UINT8, slices),
            helper.make_tensor_value_info("agreement", TensorProto.FLOAT, ["n", 2, 2]),
        ],
        [onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in (f32 | numbers).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
