"""The maps of a slice as rows of pictures: a member each, and the ensemble."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from trainer.evaluation.metrics.exam import Structure
from trainer.evaluation.report.plots import DRAWN as SOLID
from trainer.evaluation.report.plots import LIVER_COLOURS, MARKED, TUMOUR_COLOURS, outline
from trainer.evaluation.run.thumbnails import WINDOW_HU
from trainer.explain.insight import ENSEMBLE, Insight, Map, Mask, Opinion
from trainer.explain.views import View
from trainer.pages.figures import INK, data_uri

WIDTH = 10.2
"""Of a row, in inches."""
TITLE = 0.22
"""Room above, likewise."""
GAP = 0.006
"""Between two pictures, as a part of the row."""
MARGIN_MM = 25.0
"""Around the liver."""

HEAT = "inferno"
BOTH, MEMBER_ONLY, ENSEMBLE_ONLY = "#9e8fd8", "#ff7f00", "#377eb8"
COLOURS = {Structure.LIVER: LIVER_COLOURS, Structure.TUMOUR: TUMOUR_COLOURS}

Box = tuple[slice, slice]


@dataclass(frozen=True, eq=False)
class _Tile:
    """One picture of a row."""

    title: str
    overlay: NDArray[np.generic] | None
    """A map from 0 to 1, or (rows, columns, 4) colours."""
    outlines: Sequence[tuple[Mask, str, str]] = ()
    """Mask, colour, style of line."""


def slice_picture(insight: Insight) -> str:
    """Return the slice as it is, and with the contours of truth and ensemble."""
    tiles = [_Tile("the slice", None), _Tile("drawn and marked", None, _contours(insight))]
    return _row(insight, tiles)


def heat_maps(insight: Insight, structure: Structure) -> str:
    """Return the probability that each gives a structure."""
    return _mapped(insight, structure, lambda opinion: opinion.probability, drawn=True)


def cam_maps(insight: Insight, structure: Structure, *, fine: bool) -> str:
    """Return where each looks for a structure."""
    return _mapped(insight, structure, lambda each: each.fine if fine else each.deep, drawn=False)


def iou_maps(insight: Insight, structure: Structure) -> str:
    """Return where each member agrees with the ensemble, and how many members mark each pixel."""
    opinions = insight.opinions[structure]
    tiles = [
        _Tile(
            f"{name}: IoU {_to_text(insight.iou(structure, name, ENSEMBLE))}",
            _agreement(opinions[name].marked, opinions[ENSEMBLE].marked),
            _truth(insight.view, structure),
        )
        for name in insight.names
    ]
    votes = insight.votes(structure) / len(insight.names)
    title = f"all members: IoU {_to_text(insight.iou_of_all(structure))}"
    return _row(insight, [*tiles, _Tile(title, votes, _truth(insight.view, structure))])


def activation_maps(insight: Insight, name: str) -> str:
    """Return a member's activations, from fine to coarse."""
    maps = insight.activations[name]
    tiles = [_Tile(f"1/{round(insight.size / rows)} of the size", maps[rows]) for rows in maps]
    return _row(insight, tiles, least=6)


def _mapped(
    insight: Insight, structure: Structure, pick: Callable[[Opinion], Map], *, drawn: bool
) -> str:
    colours = COLOURS[structure]
    tiles = []
    for name, opinion in insight.opinions[structure].items():
        lines = [(opinion.marked, colours[MARKED], MARKED)]
        lines += _truth(insight.view, structure) if drawn else []
        none = "" if opinion.marks_any else " (marks none)"
        tiles.append(_Tile(f"{name}{none}", pick(opinion), lines))
    return _row(insight, tiles)


def _row(insight: Insight, tiles: Sequence[_Tile], least: int = 4) -> str:
    """Return tiles beside one another, with room for `least` of them."""
    box, view = _box(insight), insight.view
    rows, columns = view.hu[box].shape
    aspect = view.spacing_mm[0] / view.spacing_mm[1]
    places = max(len(tiles), least)
    # Of one tile, as high as its pixels are in millimetres.
    high = WIDTH / places * rows * aspect / columns
    figure = Figure(figsize=(WIDTH, high + TITLE), facecolor="white")
    low, top = WINDOW_HU
    for index, tile in enumerate(tiles):
        left, wide, tall = index / places, 1 / places - GAP, high / (high + TITLE)
        axes = figure.add_axes((left, 0, wide, tall))
        figure.text(left + wide / 2, tall + 0.01, tile.title, fontsize=8.5, color=INK, ha="center")
        grey = view.hu[box].astype(np.float32)
        axes.imshow(grey, "gray", aspect=aspect, vmin=low, vmax=top)
        _overlay(axes, tile, box, aspect)
        axes.set_axis_off()
    return data_uri(figure, "jpeg")


def _overlay(axes: Axes, tile: _Tile, box: Box, aspect: float) -> None:
    if tile.overlay is not None and tile.overlay.ndim == 3:
        axes.imshow(tile.overlay[box], aspect=aspect)
    elif tile.overlay is not None:
        shown = tile.overlay[box]
        seen = np.clip(np.asarray(shown, float) * 1.6, 0, 0.65)  # near 0 the slice shows through
        axes.imshow(shown, HEAT, vmin=0, vmax=1, alpha=seen, aspect=aspect)
    for mask, colour, style in tile.outlines:
        outline(axes, mask[box], colour, style)


def _agreement(member: Mask, ensemble: Mask) -> NDArray[np.float32]:
    """Return colours: both, the member alone, the ensemble alone."""
    kinds = np.where(member & ensemble, 1, np.where(member, 2, np.where(ensemble, 3, 0)))
    # The last two digits are the opacity; dissent is to be seen before agreement.
    colours = ListedColormap(["#00000000", BOTH + "80", MEMBER_ONLY + "d0", ENSEMBLE_ONLY + "d0"])
    shown: NDArray[np.float32] = colours(kinds).astype(np.float32)
    return shown


def _contours(insight: Insight) -> list[tuple[Mask, str, str]]:
    lines = []
    for structure in Structure:
        marked = insight.opinions[structure][ENSEMBLE].marked
        lines += [*_truth(insight.view, structure), (marked, COLOURS[structure][MARKED], MARKED)]
    return lines


def _truth(view: View, structure: Structure) -> list[tuple[Mask, str, str]]:
    drawn = view.drawn_liver if structure is Structure.LIVER else view.drawn_tumour
    return [] if drawn is None else [(drawn, COLOURS[structure][SOLID], SOLID)]


def _box(insight: Insight) -> Box:
    """Return the surroundings of whatever is drawn or marked; the whole slice if nothing is."""
    marked = insight.votes(Structure.LIVER) > 0
    drawn = insight.view.drawn_liver
    whole = marked if drawn is None else marked | drawn
    if not whole.any():
        return slice(None), slice(None)
    ends = []
    # `any` along the columns (axis 1) leaves the rows, and the other way round.
    for axis, mm in ((1, insight.view.spacing_mm[0]), (0, insight.view.spacing_mm[1])):
        places = np.flatnonzero(whole.any(axis=axis))
        margin = round(MARGIN_MM / mm)
        ends.append(slice(max(int(places[0]) - margin, 0), int(places[-1]) + margin + 1))
    return ends[0], ends[1]


def _to_text(iou: float) -> str:
    return "–" if np.isnan(iou) else f"{iou:.2f}"
