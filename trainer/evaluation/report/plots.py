"""Plots of an evaluation, and cases drawn with the contours of truth and marks."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from engine.volume import Label
from trainer.datasets.cases.target import INSIDE, Target
from trainer.evaluation.metrics.exam import Structure
from trainer.evaluation.metrics.scores import METRICS, Metric, PatientScores
from trainer.evaluation.run.evaluate import Judged
from trainer.evaluation.run.thumbnails import Sketch
from trainer.pages.figures import GRID, INK, data_uri, new_figure, picture

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#6b4c9a", "#7a7a7a")
"""Okabe and Ito's, distinguishable for colour-blind people."""

DRAWN, MARKED = "solid", "dashed"
LIVER_COLOURS = {DRAWN: "#7ee081", MARKED: "#ff9f1c"}
TUMOUR_COLOURS = {DRAWN: "#4cc9f0", MARKED: "#ff4d9e"}


def boxes(methods: Sequence[Judged], structure: Structure) -> str:
    """Return box plots of every metric that anybody has, a method a box."""
    values = {
        metric: [_values(each.patients, structure, metric) for each in methods]
        for metric in METRICS
    }
    shown = {metric: each for metric, each in values.items() if any(map(len, each))}
    rows = -(-len(shown) // 4)
    figure = new_figure(10.5, 2.9 * rows)
    for index, (metric, columns) in enumerate(shown.items()):
        axes = figure.add_subplot(rows, 4, index + 1)
        _box(axes, columns)
        axes.set_title(f"{metric.name} {metric.unit}".strip(), fontsize=10, color=INK)
    handles = [_patch(index) for index in range(len(methods))]
    if len(methods) > 1:
        figure.legend(handles, [each.name for each in methods], loc="outside lower center", ncols=3)
    return data_uri(figure)


def curve(methods: Sequence[Judged], learnt_from: Mapping[str, int]) -> str:
    """Return the pooled Dice of every method; over patients learnt from, where all say how many."""
    numbered = all(each.name in learnt_from for each in methods)
    ordered = (
        sorted(methods, key=lambda each: learnt_from[each.name]) if numbered else list(methods)
    )
    places = [learnt_from[each.name] if numbered else i for i, each in enumerate(ordered)]
    figure = new_figure(10.5, 3.6)
    for column, structure in enumerate(Structure):
        axes = figure.add_subplot(1, 2, column + 1)
        _points(axes, ordered, places, structure, joined=numbered)
        axes.set_title(f"{structure.capitalize()}: pooled Dice, 95 % interval", fontsize=10)
        if numbered:
            axes.set_xlabel("patients learnt from", fontsize=9)
        else:
            axes.set_xticks(places, [each.name for each in ordered], rotation=20, ha="right")
    return data_uri(figure)


def drawing(sketch: Sketch) -> str:
    """Return one slice with what was drawn and what was marked."""
    rows, columns = sketch.grey.shape
    figure, axes = picture(3.6, rows, columns, sketch.aspect)
    axes.imshow(sketch.grey, cmap="gray", vmin=0, vmax=255, aspect=sketch.aspect)
    inside = np.isin(sketch.target, INSIDE)
    for colours, drawn, marked in (
        (LIVER_COLOURS, inside, sketch.found > 0),
        (TUMOUR_COLOURS, sketch.target == Target.TUMOUR, sketch.found == Label.TUMOUR),
    ):
        outline(axes, drawn, colours[DRAWN], DRAWN)
        outline(axes, marked, colours[MARKED], MARKED)
    return data_uri(figure)


def outline(axes: Axes, mask: NDArray[np.bool_], colour: str, style: str = DRAWN) -> None:
    """Draw the outline of a mask along its pixels' middles."""
    # Without an edge there is no contour, and matplotlib warns.
    if mask.any() and not mask.all():
        axes.contour(mask, levels=[0.5], colors=colour, linestyles=style, linewidths=1.3)


def keys() -> list[dict[str, str]]:
    """Return what each kind of line means."""
    return [
        {"name": f"{structure} {what}", "colour": colours[style], "style": style}
        for structure, colours in (("liver", LIVER_COLOURS), ("tumour", TUMOUR_COLOURS))
        for what, style in (("drawn by experts", DRAWN), ("marked", MARKED))
    ]


def _values(patients: Sequence[PatientScores], structure: Structure, metric: Metric) -> list[float]:
    scores = [each.of[structure] for each in patients if structure in each.of]
    values = [metric.of(each) for each in scores if each.overlap.true]
    return [value for value in values if not np.isnan(value)]


def _box(axes: Axes, columns: Sequence[Sequence[float]]) -> None:
    places = np.arange(len(columns))
    soft = {"color": GRID}
    parts = axes.boxplot(
        columns,
        positions=places,
        widths=0.55,
        showfliers=False,
        patch_artist=True,
        whiskerprops=soft,
        capprops=soft,
    )
    # Fixed, so that the same figures give the same picture.
    random = np.random.default_rng(0)
    for place, values, box, median in zip(
        places, columns, parts["boxes"], parts["medians"], strict=True
    ):
        colour = COLOURS[place % len(COLOURS)]
        box.set(facecolor=colour, alpha=0.25, edgecolor=colour)
        median.set(color=colour, linewidth=2)
        beside = place + random.uniform(-0.16, 0.16, len(values))
        axes.plot(beside, values, "o", color=colour, markersize=3.5, alpha=0.75)
    axes.set_xticks([])
    _plain(axes)


def _points(
    axes: Axes,
    methods: Sequence[Judged],
    places: Sequence[int],
    structure: Structure,
    *,
    joined: bool,
) -> None:
    for index, (method, place) in enumerate(zip(methods, places, strict=True)):
        estimate = method.summary.pooled_dice.get(structure)
        if estimate is None:
            continue
        reach = np.array([[estimate.value - estimate.low], [estimate.high - estimate.value]])
        colour = COLOURS[0 if joined else index % len(COLOURS)]
        # matplotlib refuses negative bars, and a bootstrap interval may leave the value by a
        # rounding.
        bars = None if np.isnan(reach).any() else reach.clip(min=0)
        axes.errorbar(place, estimate.value, bars, fmt="o", color=colour, capsize=4)
    if joined:
        known = [each.summary.pooled_dice.get(structure) for each in methods]
        line = [np.nan if each is None else each.value for each in known]
        axes.plot(places, line, color=COLOURS[0], linewidth=1)
    _plain(axes)


def _patch(index: int) -> Any:
    from matplotlib.patches import Patch

    colour = COLOURS[index % len(COLOURS)]
    return Patch(facecolor=colour, edgecolor=colour, alpha=0.6)


def _plain(axes: Axes) -> None:
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8.5, colors=INK, length=0)
    axes.spines[["top", "right", "bottom", "left"]].set_visible(False)
