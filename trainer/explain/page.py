"""Explanation of a model as one page of HTML."""

from collections.abc import Iterable
from typing import Any

from matplotlib import colormaps

from engine.model import Model
from trainer.evaluation.metrics.exam import Structure
from trainer.evaluation.report.plots import keys
from trainer.explain import drawing
from trainer.explain.insight import ENSEMBLE, Insight
from trainer.pages import render

STEPS = 12


def to_html(model: Model, insights: Iterable[Insight]) -> str:
    """Return the page; it needs nothing beside itself."""
    return render(
        "explanation.html",
        title=f"Inside {model.name} {model.version}",
        members=", ".join(model.members),
        digest=model.digest[:12],
        slices=[_slice(each) for each in insights],
        keys=keys(),
        heat=_heat(),
        agreement=[
            {"name": "member and ensemble", "colour": drawing.BOTH},
            {"name": "the member alone", "colour": drawing.MEMBER_ONLY},
            {"name": "the ensemble alone", "colour": drawing.ENSEMBLE_ONLY},
        ],
    )


def _slice(insight: Insight) -> dict[str, Any]:
    return {
        "title": insight.view.title,
        "drawn": insight.view.target is not None,
        "picture": drawing.slice_picture(insight),
        "heat": _each(lambda structure: drawing.heat_maps(insight, structure)),
        "deep": _each(lambda structure: drawing.cam_maps(insight, structure, fine=False)),
        "fine": _each(lambda structure: drawing.cam_maps(insight, structure, fine=True)),
        "iou": _each(lambda structure: drawing.iou_maps(insight, structure)),
        "tables": [_ious(insight, structure) for structure in Structure],
        "activations": [
            {"title": name, "src": drawing.activation_maps(insight, name)}
            for name in insight.activations
        ],
    }


def _each(draw: Any) -> list[dict[str, str]]:
    return [{"title": structure.capitalize(), "src": draw(structure)} for structure in Structure]


def _ious(insight: Insight, structure: Structure) -> dict[str, Any]:
    names = [*insight.names, ENSEMBLE]
    return {
        "title": structure.capitalize(),
        "names": names,
        "rows": [
            (one, [_to_text(insight.iou(structure, one, to)) for to in names]) for one in names
        ],
    }


def _to_text(iou: float) -> str:
    # nan is the one number that differs from itself.
    return "–" if iou != iou else f"{iou:.2f}"


def _heat() -> str:
    """Return the colours of the maps, from 0 to 1, as CSS has them."""
    colours = colormaps[drawing.HEAT]
    stops = [colours(i / (STEPS - 1)) for i in range(STEPS)]
    return ", ".join("#" + "".join(f"{round(255 * c):02x}" for c in stop[:3]) for stop in stops)
