"""Labels of a result, kept for corrections that come once its other files are removed.

Nothing in them names the patient. They are cut to the box that holds every label, and packed by
bit: those of 300 slices take about 100 kB.
"""

import io
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from dicom_node.corrections.correction import Scanner
from dicom_node.errors import UnreadableDrawing
from engine.durable_files import write_durably
from engine.volume import Geometry, Label, LabelMap

SUFFIX = ".labels.npz"


@dataclass(frozen=True, eq=False)
class KeptLabels:
    """What is kept of one result."""

    label_map: LabelMap
    scanner: Scanner
    model: str
    """Name and version of the model."""
    digest: str
    """Its digest."""


def write_kept_labels(path: Path, kept: KeptLabels) -> None:
    """Write labels to a file, durably."""
    labels, geometry = kept.label_map.labels, kept.label_map.geometry
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
        text=np.array([geometry.frame_of_reference, kept.model, kept.digest]),
        scanner=np.array(list(asdict(kept.scanner).values())),
    )
    write_durably(path, content.getvalue())


def read_kept_labels(path: Path) -> KeptLabels:
    """Read what `write_kept_labels` wrote.

    Raises:
        UnreadableDrawing: the file is damaged.
        FileNotFoundError: there is none.
    """
    try:
        # Opened here: NumPy leaves a damaged file open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            box, (slices, rows, columns) = stored["box"], stored["shape"].tolist()
            shape = slices, rows, columns
            inside = tuple(slice(int(low), int(high)) for low, high in box)
            labels = np.zeros(shape, np.uint8)
            size = tuple(int(high - low) for low, high in box)
            for mark in (Label.LIVER, Label.TUMOUR):
                bits = np.unpackbits(stored[mark.name.lower()], count=int(np.prod(size)))
                labels[inside][bits.reshape(size).astype(np.bool_)] = mark
            frame, model, digest = (str(each) for each in stored["text"])
            scanner = Scanner(*(str(each) for each in stored["scanner"]))
            places = tuple(map(float, stored["places"])) or None
            geometry = Geometry(shape, stored["affine"], frame, places)
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error) as error:
        raise UnreadableDrawing(
            f"{path.name} is damaged ({type(error).__name__}); hepar jobs redo makes it again"
        ) from error
    return KeptLabels(LabelMap(labels, geometry), scanner, model, digest)


def _box(labels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return (axis, 2): where the labels begin and end along each axis; all 0 without any."""
    bounds = []
    for axis in range(labels.ndim):
        others = tuple(each for each in range(labels.ndim) if each != axis)
        marked = np.flatnonzero(labels.any(axis=others))
        bounds.append((marked[0], marked[-1] + 1) if marked.size else (0, 0))
    return np.array(bounds, np.int64)
