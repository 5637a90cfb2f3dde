"""Figures of matplotlib as part of a page: no file beside it, no window, no state."""

import base64
from io import BytesIO
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK = "#1f2933"
GRID = "#d9dee3"
DPI = 110


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure; sizes in inches."""
    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def picture(width: float, rows: int, columns: int, aspect: float) -> tuple[Figure, Axes]:
    """Return a figure that an image fills to its edges, and the axes to draw it on.

    Args:
        width: in inches.
        rows: of the image.
        columns: likewise.
        aspect: height over width of a pixel.
    """
    figure = Figure(figsize=(width, width * rows * aspect / columns))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    return figure, axes


def data_uri(figure: Figure, kind: Literal["png", "jpeg"] = "png") -> str:
    """Return a figure as what stands in `src`; JPEG takes a fifth of the room for images."""
    out = BytesIO()
    figure.savefig(out, format=kind, dpi=DPI, pil_kwargs={"quality": 88} if kind == "jpeg" else {})
    return f"data:image/{kind};base64," + base64.b64encode(out.getvalue()).decode()
