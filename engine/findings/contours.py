"""Preview image of a result: slices through the liver with the outlines of the labels."""

from collections.abc import Mapping
from dataclasses import dataclass

import cc3d
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from engine.volume import Label, LabelMap, Volume

WINDOW_HU = 40 - 200, 40 + 200
"""Soft tissue: level 40, width 400."""
# Between air and lung below and fat, about -100 HU, above.
BODY_HU = -300
COLOURS: Mapping[Label, tuple[int, int, int]] = {
    Label.LIVER: (221, 130, 101),
    Label.TUMOUR: (255, 214, 10),
}
TILE = 420, 330
"""Width and height of a slice with its caption, in pixels."""
HEAD, FOOT = 30, 40
"""Height of a caption and of the legend."""
MARGIN_MM = 8.0
COLUMNS = 3
INK, FAINT = (235, 235, 235), (150, 150, 150)


@dataclass(frozen=True)
class _View:
    """Cropping and scaling, the same for every slice."""

    rows: slice
    columns: slice
    size: tuple[int, int]
    """Width and height in pixels."""
    pixels_per_mm: float


def draw_contours(
    volume: Volume,
    label_map: LabelMap,
    slices: int = 6,
    *,
    colours: Mapping[Label, tuple[int, int, int]] = COLOURS,
) -> Image.Image:
    """Return a montage of slices with the outlines of liver and tumours.

    The slices are spread evenly over the liver (or the whole volume, without one) and include the
    slice with the largest tumour area. The patient's right is on the left.
    """
    view = _view(volume)
    shown = _choose(label_map.labels, slices)
    lines = -(-len(shown) // COLUMNS)
    picture = Image.new("RGB", (COLUMNS * TILE[0], lines * TILE[1] + FOOT))
    for place, index in enumerate(shown):
        tile = _draw_slice(volume, label_map, index, view, colours)
        picture.paste(tile, (place % COLUMNS * TILE[0], place // COLUMNS * TILE[1]))
    _draw_legend(picture, label_map, colours)
    return picture


def with_note(picture: Image.Image, note: str) -> Image.Image:
    """Return the picture with a line of text under it."""
    noted = Image.new("RGB", (picture.width, picture.height + FOOT))
    noted.paste(picture)
    place = noted.width // 2, noted.height - FOOT // 2
    ImageDraw.Draw(noted).text(place, note, fill=INK, font=_font(15), anchor="mm")
    return noted


def _view(volume: Volume) -> _View:
    """Crop to the body, without the table, and scale to fill a tile."""
    _, *spacing_mm = volume.geometry.spacing
    # Some 16 slices are enough for a frame; a quarter of them, so that arms in a few do not count.
    dense = (volume.hu[:: max(1, len(volume.hu) // 16)] > BODY_HU).mean(axis=0) > 0.25
    body = cc3d.largest_k(dense, k=1, connectivity=4, binary_image=True) > 0  # no table
    rows, columns = (
        _span(np.flatnonzero(body.any(axis=axis)), body.shape[1 - axis], round(MARGIN_MM / mm))
        for axis, mm in zip((1, 0), spacing_mm, strict=True)
    )
    height_mm = (rows.stop - rows.start) * spacing_mm[0]
    width_mm = (columns.stop - columns.start) * spacing_mm[1]
    scale = min((TILE[0] - 4) / width_mm, (TILE[1] - HEAD - 4) / height_mm)
    return _View(rows, columns, (round(width_mm * scale), round(height_mm * scale)), scale)


def _span(found: NDArray[np.intp], length: int, margin: int) -> slice:
    """Return the extent of the found indices with a margin; the whole axis if there are none."""
    if not len(found):
        return slice(0, length)
    return slice(max(0, int(found[0]) - margin), min(length, int(found[-1]) + 1 + margin))


def _choose(labels: NDArray[np.uint8], count: int) -> list[int]:
    """Return slice indices in ascending order."""
    liver = np.flatnonzero(labels.any(axis=(1, 2)))
    low, high = (int(liver[0]), int(liver[-1]) + 1) if len(liver) else (0, len(labels))
    count = min(count, high - low)
    # The middle of each of `count` equal parts: the ends of a liver show little of it.
    chosen = [low + int((place + 0.5) * (high - low) / count) for place in range(count)]
    tumour = np.count_nonzero(labels == Label.TUMOUR, axis=(1, 2))
    if tumour.any():
        largest = int(tumour.argmax())
        # Replaces the nearest slice, so that the order and the number stay.
        nearest = min(range(count), key=lambda place: abs(chosen[place] - largest))
        chosen[nearest] = largest
    return chosen


def _draw_slice(
    volume: Volume,
    label_map: LabelMap,
    index: int,
    view: _View,
    colours: Mapping[Label, tuple[int, int, int]],
) -> Image.Image:
    low, high = WINDOW_HU
    hu = volume.hu[index, view.rows, view.columns].astype(np.float32)
    grey = np.clip((hu - low) / (high - low) * 255, 0, 255).astype(np.uint8)
    image = Image.fromarray(grey).resize(view.size, Image.Resampling.LANCZOS).convert("RGB")
    labels = label_map.labels[index, view.rows, view.columns]
    for label, colour in colours.items():
        # `>=`: the liver's outline goes around its tumours, not along them.
        image.paste(colour, mask=outline(labels >= label, view.size))
    tile = Image.new("RGB", TILE)
    left, top = (TILE[0] - view.size[0]) // 2, HEAD + (TILE[1] - HEAD - view.size[1]) // 2
    tile.paste(image, (left, top))
    _caption(tile, volume, index, view)
    return tile


def outline(mask: NDArray[np.bool_], size: tuple[int, int]) -> Image.Image:
    """Return the outline of a mask, scaled to `size`, as an alpha mask about 2 pixels wide."""
    fine = Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.BICUBIC)
    inside = np.asarray(fine, np.float32) / 255
    # np.roll wraps around: without the border the left edge would meet the right one.
    padded = np.pad(inside, 1)
    around = [np.roll(padded, step, axis)[1:-1, 1:-1] for axis in (0, 1) for step in (-1, 1)]
    edge = (np.max(around, axis=0) >= 0.5) & (np.min(around, axis=0) < 0.5)
    return Image.fromarray(edge.astype(np.uint8) * 255)


def _caption(tile: Image.Image, volume: Volume, index: int, view: _View) -> None:
    draw = ImageDraw.Draw(tile)
    z_mm = volume.geometry.affine[2] @ (
        volume.geometry.place(index),
        *(np.array(volume.hu.shape[1:]) - 1) / 2,
        1,
    )
    text = f"slice {index + 1} of {len(volume.hu)}   z {z_mm:+.1f} mm"
    draw.text((12, HEAD // 2), text, fill=INK, font=_font(14), anchor="lm")
    length = round(50 * view.pixels_per_mm)
    x, y = TILE[0] - 12, TILE[1] - 12
    draw.line((x - length, y, x, y), fill=INK, width=2)
    draw.text(
        (x, y - 6), "50 mm", INK, _font(12), anchor="rs", stroke_width=2, stroke_fill=(0, 0, 0)
    )


def _draw_legend(
    picture: Image.Image, label_map: LabelMap, colours: Mapping[Label, tuple[int, int, int]]
) -> None:
    draw = ImageDraw.Draw(picture)
    x, y = 14, picture.height - FOOT // 2
    for label, colour in colours.items():
        text = f"{label.name.capitalize()} {label_map.millilitres(label):.1f} ml"
        draw.rectangle((x, y - 6, x + 12, y + 6), fill=colour)
        draw.text((x + 20, y), text, fill=INK, font=_font(15), anchor="lm")
        x += 50 + round(draw.textlength(text, font=_font(15)))
    note = "patient's right on the left, W 400 L 40"
    draw.text((picture.width - 14, y), note, fill=FAINT, font=_font(13), anchor="rm")


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
