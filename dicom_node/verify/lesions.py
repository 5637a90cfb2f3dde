"""Lesions numbered for the proof, on purpose without the numbering that the writers use."""

from typing import Any, Final

import cc3d
import numpy as np
from numpy.typing import NDArray

from engine.volume import Label, LabelMap

LIVER, FIRST_LESION = 1, 2
FACES: Final = 6


def lesion_values(label_map: LabelMap) -> LabelMap:
    """Return the same voxels with 1 for the liver, 2 for the largest lesion, 3 for the next.

    32 bits wide: no object can number as many lesions as the proof can. Lesions of one size follow
    one another in the order of their first voxels.
    """
    pieces: NDArray[Any] = cc3d.connected_components(
        np.ascontiguousarray(label_map.labels == Label.TUMOUR),
        connectivity=FACES,
        out_dtype=np.dtype(np.uint32),
        return_N=False,
    )
    flat = pieces.ravel()
    marked = np.flatnonzero(flat)
    names, first = np.unique(flat[marked], return_index=True)
    sizes = np.bincount(flat[marked])[names] if len(names) else np.array([], int)
    # Largest first, then by position.
    ordered = sorted(zip(-sizes, first, names, strict=True))
    value_of = np.zeros(int(names.max(initial=0)) + 1, np.uint32)
    for value, (_, _, name) in enumerate(ordered, start=FIRST_LESION):
        value_of[name] = value
    values = value_of[pieces]
    values[label_map.labels == Label.LIVER] = LIVER
    return LabelMap(values, label_map.geometry)
