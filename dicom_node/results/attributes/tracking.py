"""Names of lesions that stay the same when the work is done again."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from dicom_node.results.attributes.derived_uid import derived_uid
from engine.findings.measure import Lesion

CELL_MM = 5.0
"""A lesion is known by the cell of a grid in which its centre lies, in the series it is of. So
another model, which draws it a little otherwise, gives it the same name more often than not; and
the smallest lesions that the cleaning leaves are as wide as a cell."""


@dataclass(frozen=True)
class Tracking:
    """Name and UID of one finding."""

    identifier: str
    """Tracking ID (0062,0020): for people."""
    uid: str
    """Tracking UID (0062,0021)."""


def track_liver(series_uid: str) -> Tracking:
    """Return name and UID of the liver of a series."""
    return Tracking("Liver", derived_uid(series_uid, "liver"))


def track(lesions: Iterable[Lesion], series_uid: str) -> list[Tracking]:
    """Return name and UID of each lesion of a series, in their order."""
    seen: Counter[str] = Counter()
    named = []
    for lesion in lesions:
        cell = " ".join(str(round(place / CELL_MM)) for place in lesion.centre)
        # Two lesions may have their centres in one cell: the larger, the first, keeps its name.
        uid = derived_uid(series_uid, "lesion", cell, str(seen[cell]))
        seen[cell] += 1
        named.append(Tracking(f"Lesion {lesion.number}", uid))
    return named
