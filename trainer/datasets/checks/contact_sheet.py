"""A contact sheet: a few slices of every series, with what was drawn on them."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from engine.findings.contours import COLOURS
from engine.volume import Label
from trainer.datasets.cases.target import INSIDE, Target
from trainer.datasets.checks.facts import Facts

WINDOW_HU = -100, 240
TILE, CAPTION, LEGEND = 128, 42, 18
COLUMNS = 12
"""Tiles in a line."""
INK, DOUBT = (235, 235, 235), (255, 120, 90)
# Pillow's own font: the sheet looks the same on machines without fonts.
TEXT = ImageFont.load_default(11)

MAY_BE_TUMOUR = (120, 190, 255)
"""Outline of a liver whose tumours were not drawn."""

KEYS = (
    ("liver", COLOURS[Label.LIVER]),
    ("tumour", COLOURS[Label.TUMOUR]),
    ("liver whose tumours were not drawn", MAY_BE_TUMOUR),
    ("why to look at it", DOUBT),
)
"""Legend of the colours, in the last line."""


def write_sheet(facts: Sequence[Facts], path: Path) -> None:
    """Draw what is `shown` of every series into one PNG; series with doubts come first."""
    tiles = [
        _tile(each, index)
        for each in sorted(facts, key=lambda each: (not each.doubts, each.source))
        for index in range(len(each.shown))
    ]
    lines = -(-len(tiles) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * TILE, lines * (TILE + CAPTION) + LEGEND))
    draw, x = ImageDraw.Draw(sheet), 3
    for text, colour in KEYS:
        draw.text((x, sheet.height - LEGEND + 2), text, colour, TEXT)
        x += round(draw.textlength(text, TEXT)) + 18
    for place, tile in enumerate(tiles):
        sheet.paste(tile, (place % COLUMNS * TILE, place // COLUMNS * (TILE + CAPTION)))
    sheet.save(path)


def _tile(facts: Facts, index: int) -> Image.Image:
    low, high = WINDOW_HU
    hu = facts.shown.hu[index].astype(np.float32)
    grey = np.clip((hu - low) / (high - low) * 255, 0, 255).astype(np.uint8)
    whole = Image.fromarray(grey).resize((TILE, TILE), Image.Resampling.BOX).convert("RGB")
    # Nearest: labels are names, and a mean of 0 and 2 would be 1, liver.
    target = Image.fromarray(facts.shown.target[index]).resize(
        (TILE, TILE), Image.Resampling.NEAREST
    )
    for colour, mask in _outlines(np.asarray(target)):
        whole.paste(colour, mask=Image.fromarray(mask.astype(np.uint8) * 255))
    tile = Image.new("RGB", (TILE, TILE + CAPTION))
    tile.paste(whole, (0, CAPTION))
    draw = ImageDraw.Draw(tile)
    draw.text((3, 1), facts.name[:20], INK, TEXT)
    if facts.doubts:
        lines = wrap(facts.doubts[0], 22, max_lines=2, placeholder=" …")
        draw.multiline_text((3, 14), "\n".join(lines), DOUBT, TEXT, spacing=1)
    return tile


def _outlines(
    target: NDArray[np.uint8],
) -> list[tuple[tuple[int, int, int], NDArray[np.bool_]]]:
    inside = np.isin(target, INSIDE)
    drawn = MAY_BE_TUMOUR if np.any(target == Target.LIVER_OR_TUMOUR) else COLOURS[Label.LIVER]
    return [(drawn, _edge(inside)), (COLOURS[Label.TUMOUR], _edge(target == Target.TUMOUR))]


def _edge(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels of a mask that touch what is outside of it."""
    # np.roll wraps around: without the border the left edge would meet the right one.
    padded = np.pad(mask, 1)
    around = [np.roll(padded, step, axis)[1:-1, 1:-1] for axis in (0, 1) for step in (-1, 1)]
    return np.asarray(mask & ~np.logical_and.reduce(around))
