"""Labels of a result, kept for corrections that come once its other files are removed; and what a
person drew, kept for a shadow model that computes the series later.

Nothing in them names the patient. They are cut to the box that holds every label, and packed by
bit: those of 300 slices take about 100 kB.
"""

import io
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from dicom_node.corrections.correction import Scanner
from dicom_node.errors import UnreadableDrawing
from engine.durable_files import write_durably
from engine.volume import Geometry, Label, LabelMap

SUFFIX = ".labels.npz"

LEARNT = "the model has learnt from this patient"
"""Why a correction is not compared with a result: the Dice would flatter the model."""


@dataclass(frozen=True, eq=False)
class KeptLabels:
    """What is kept of one result."""

    label_map: LabelMap
    scanner: Scanner
    model: str
    """Name and version of the model."""
    digest: str
    """Its digest."""
    learnt: bool = False
    """Whether the model had learnt from the patient, so that its Dice would flatter it."""


@dataclass(frozen=True, eq=False)
class Drawing:
    """What a person drew, on the grid of the result."""

    label_map: LabelMap
    marks: frozenset[Label]
    """Structures that the person marked; of the others the drawing states nothing."""


def write_kept_labels(path: Path, kept: KeptLabels) -> None:
    """Write labels to a file, durably."""
    text = np.array([kept.label_map.geometry.frame_of_reference, kept.model, kept.digest])
    scanner = np.array(list(asdict(kept.scanner).values()))
    learnt = np.array(kept.learnt)
    _write(path, kept.label_map, text=text, scanner=scanner, learnt=learnt)


def write_drawing(path: Path, drawing: Drawing) -> None:
    """Write a drawing to a file, durably."""
    text = np.array([drawing.label_map.geometry.frame_of_reference])
    marks = np.array([int(mark) for mark in drawing.marks], np.uint8)
    _write(path, drawing.label_map, text=text, marks=marks)


def _write(path: Path, label_map: LabelMap, **more: Any) -> None:
    labels, geometry = label_map.labels, label_map.geometry
    box = _box(labels)
    cut = labels[tuple(slice(low, high) for low, high in box)]
    content = io.BytesIO()
    np.savez_compressed(
        content,
        box=box,
        liver=np.packbits(cut == Label.LIVER),
        tumour=np.packbits(cut == Label.TUMOUR),
        shape=np.array(geometry.shape),
        places=np.array(geometry.slice_places or ()),
        affine=geometry.affine,
        **more,
    )
    write_durably(path, content.getvalue())


def read_kept_labels(path: Path) -> KeptLabels:
    """Read what `write_kept_labels` wrote.

    Raises:
        UnreadableDrawing: the file is damaged.
        FileNotFoundError: there is none.
    """
    with _opened(path) as stored:
        frame, model, digest = (str(each) for each in stored["text"])
        scanner = Scanner(*(str(each) for each in stored["scanner"]))
        learnt = bool(stored["learnt"]) if "learnt" in stored else False  # of older versions
        return KeptLabels(_label_map(stored, frame), scanner, model, digest, learnt)


def read_drawing(path: Path) -> Drawing:
    """Read what `write_drawing` wrote.

    Raises:
        UnreadableDrawing: the file is damaged.
        FileNotFoundError: there is none.
    """
    with _opened(path) as stored:
        (frame,) = (str(each) for each in stored["text"])
        marks = frozenset(Label(int(each)) for each in stored["marks"])
        return Drawing(_label_map(stored, frame), marks)


def _label_map(stored: Mapping[str, NDArray[Any]], frame: str) -> LabelMap:
    box, (slices, rows, columns) = stored["box"], stored["shape"].tolist()
    shape = slices, rows, columns
    inside = tuple(slice(int(low), int(high)) for low, high in box)
    labels = np.zeros(shape, np.uint8)
    size = tuple(int(high - low) for low, high in box)
    for mark in (Label.LIVER, Label.TUMOUR):
        bits = np.unpackbits(stored[mark.name.lower()], count=int(np.prod(size)))
        labels[inside][bits.reshape(size).astype(np.bool_)] = mark
    places = tuple(map(float, stored["places"])) or None
    return LabelMap(labels, Geometry(shape, stored["affine"], frame, places))


@contextmanager
def _opened(path: Path) -> Iterator[Mapping[str, NDArray[Any]]]:
    try:
        # Opened here: NumPy leaves a damaged file open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            yield stored
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error) as error:
        raise UnreadableDrawing(
            f"{path.name} is damaged ({type(error).__name__}); hepar jobs redo makes it again"
        ) from error


def _box(labels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return (axis, 2): where the labels begin and end along each axis; all 0 without any."""
    bounds = []
    for axis in range(labels.ndim):
        others = tuple(each for each in range(labels.ndim) if each != axis)
        marked = np.flatnonzero(labels.any(axis=others))
        bounds.append((marked[0], marked[-1] + 1) if marked.size else (0, 0))
    return np.array(bounds, np.int64)
