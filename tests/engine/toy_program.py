"""The toy model as a `torch.export` program, beside its ONNX."""

import torch

from tests.engine.toy_model import write_manifest, write_toy_model


def write_toy_with_program(folder, *, convolved=False):
    """Write the toy with `ensemble.pt2`; `convolved`, it loses something to half precision."""
    write_toy_model(folder)
    program = toy_program(convolved)
    torch.export.save(program, folder / "ensemble.pt2")
    write_manifest(folder)
    return folder


def toy_program(convolved):
    free = {axis: torch.export.Dim(name) for axis, name in enumerate(("n", "rows", "columns"))}
    hu, spacing = torch.zeros(3, 9, 11, dtype=torch.float16), torch.ones(2)
    shapes = {"hu": free, "spacing": None}
    return torch.export.export(ToyGraph(convolved).eval(), (hu, spacing), dynamic_shapes=shapes)


class ToyGraph(torch.nn.Module):
    """As `toy_answer`, by way of a product with a matrix, and of a convolution if told so."""

    def __init__(self, convolved):
        super().__init__()
        self.convolution = torch.nn.Conv2d(1, 1, 1, bias=False) if convolved else None
        if convolved:
            torch.nn.init.ones_(self.convolution.weight)

    def forward(self, hu, spacing):
        x = torch.eye(hu.shape[1]) @ hu.float()
        if self.convolution is not None:
            x = self.convolution(x[:, None])[:, 0]
        masks = [(x >= low) & (x < 300) for low in (110, 100, 210, 200)]
        counts = [mask.float().sum((1, 2)) for mask in masks]
        agreement = torch.stack(counts, 1).unflatten(1, (2, 2)) * spacing[:, None]
        return (masks[1].int() + masks[3].int()).to(torch.uint8), agreement
