"""Films as strips of frames for a page's slider."""

import base64
from io import BytesIO

import numpy as np
from PIL import Image, ImageColor

from engine.findings.contours import outline
from engine.volume import Label
from trainer.datasets.cases.target import INSIDE, Target
from trainer.evaluation.report.plots import DRAWN, LIVER_COLOURS, MARKED, TUMOUR_COLOURS
from trainer.evaluation.run.films import SIDE, Film

COLOURS = 96
"""Of the strip's palette: greys and the four lines look the same, in a third of the room."""


def strip(film: Film) -> str:
    """Return all frames below one another as what stands in `src`."""
    whole = Image.new("RGB", (SIDE, SIDE * len(film.grey)))
    for index in range(len(film.grey)):
        whole.paste(_frame(film, index), (0, SIDE * index))
    out = BytesIO()
    few = whole.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(out, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


def _frame(film: Film, index: int) -> Image.Image:
    frame = Image.fromarray(film.grey[index]).convert("RGB")
    target, found = film.target[index], film.found[index]
    for colours, drawn, marked in (
        (LIVER_COLOURS, np.isin(target, INSIDE), found > 0),
        (TUMOUR_COLOURS, target == Target.TUMOUR, found == Label.TUMOUR),
    ):
        for style, mask in ((DRAWN, drawn), (MARKED, marked)):
            line = outline(mask, (SIDE, SIDE))
            if style == MARKED:
                line = _dashed(line)
            frame.paste(ImageColor.getrgb(colours[style]), mask=line)
    return frame


def _dashed(line: Image.Image) -> Image.Image:
    """Return a line with gaps, as contours are drawn elsewhere on the page."""
    rows, columns = np.indices((SIDE, SIDE))
    return Image.fromarray(np.where((rows + columns) % 9 < 6, np.asarray(line), 0).astype(np.uint8))
