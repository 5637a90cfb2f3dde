"""How far the members of the ensemble agree."""

import numpy as np
from numpy.typing import NDArray

from engine.volume import Label


def pooled_agreement(counts: NDArray[np.float32]) -> dict[Label, float]:
    """Return, for each class, the part of what any member marks that every member marks.

    1 means one opinion, also where nobody marks anything; 0 that no pixel is marked by all.

    Args:
        counts: (slices, 2, 2) as `engine.devices.Answer` has them.
    """
    pooled = counts.sum(axis=0, dtype=np.float64)
    return {
        label: float(every / any_) if any_ else 1.0
        for label, (every, any_) in zip((Label.LIVER, Label.TUMOUR), pooled, strict=True)
    }
