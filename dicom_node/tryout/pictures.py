"""Pictures of one slice: its grey values, and the contours to be laid over them."""

from collections.abc import Mapping
from io import BytesIO

from PIL import Image, ImageFilter

from dicom_node.pipeline.scan_file import ScanSlice
from engine.findings.contours import COLOURS, outline

LONGEST = 768
"""Pixels of the longer side; small pictures are enlarged, for contours as thin as in large ones."""
WIDEN = 3
"""Pixels that each pixel of a line becomes wide: on a phone two of them are one."""
JPEG_QUALITY = 90

Size = tuple[int, int]
"""Width and height in pixels."""


def shown_size(rows_mm: float, columns_mm: float) -> Size:
    """Return the size of a picture of a slice with these extents."""
    scale = LONGEST / max(rows_mm, columns_mm)
    return max(1, round(columns_mm * scale)), max(1, round(rows_mm * scale))


def grey_jpeg(shown: ScanSlice, size: Size) -> bytes:
    """Return the grey values."""
    picture = Image.fromarray(shown.grey).resize(size, Image.Resampling.BILINEAR)
    return _encoded(picture, "JPEG", {"quality": JPEG_QUALITY})


def contours_png(shown: ScanSlice, size: Size) -> bytes:
    """Return the outlines of liver and tumours on a transparent ground."""
    picture = Image.new("RGBA", size)
    for label, colour in COLOURS.items():
        edge = outline(shown.labels >= label, size).filter(ImageFilter.MaxFilter(WIDEN))
        picture.paste((*colour, 255), mask=edge)
    return _encoded(picture, "PNG", {"compress_level": 1})


def _encoded(picture: Image.Image, form: str, options: Mapping[str, int]) -> bytes:
    file = BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()
