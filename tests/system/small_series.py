"""A small abdomen, new each time, for tests of what moves series rather than of what marks them."""

from pathlib import Path

from pydicom.uid import generate_uid

from dicom_node.results.phantom import write_series
from engine.phantom import make_phantom

PHANTOM = make_phantom(shape=(20, 64, 64), spacing_mm=(10, 6, 6), noise_hu=2, tumours=0)


def series(folder: Path) -> list[Path]:
    """Write a series of its own into a folder; return its files."""
    return write_series(PHANTOM, generate_uid(), folder)
