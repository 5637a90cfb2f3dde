"""Plausibility checks of a result.

The bounds are deliberately wide: a violation means that the result is wrong, truncated or unusual.
Passing all of them does not prove that a result is right.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from engine.findings.domain import Outside
from engine.findings.measure import Measurements
from engine.manifest import Calibration, Feature
from engine.segmentation.segment import Segmentation
from engine.volume import Label, LabelMap

LIVER_ML = 500.0, 4000.0
"""Adult livers, from small and cirrhotic to large and full of tumours."""
DROPPED_PART = 0.1
"""Fraction of the liver's volume. More than this marked elsewhere means another organ, or a liver
in several pieces."""
AGREEMENT = {Label.LIVER: 0.75, Label.TUMOUR: 0.2}
"""Smallest acceptable agreement of the members, per class (intersection over union),
whatever lower bound a model states."""


class Statement(StrEnum):
    """Verdict on the quality of a result."""

    PLAUSIBLE = "plausible"
    REVIEW = "review"


class Concern(StrEnum):
    """Reason for a manual review."""

    SMALL = "liver smaller than expected"
    LARGE = "liver larger than expected"
    FIRST_SLICE = "liver reaches the first slice"
    LAST_SLICE = "liver reaches the last slice"
    PIECES = "much was marked away from the liver"
    LIVER_DISPUTED = "members disagree on the liver"
    TUMOUR_DISPUTED = "members disagree on the tumours"
    LEVEL = "liver much darker or brighter than usual"
    OTHER_LEVEL = "level of the liver outside of what was learnt"
    OTHER_SPREAD = "spread of the liver's HU outside of what was learnt"
    OTHER_NOISE = "noise outside of what was learnt"
    OTHER_VESSELS = "contrast of the vessels outside of what was learnt"
    OTHER_CONTRAST = "contrast around the liver outside of what was learnt"
    OTHER_CUT = "range of HU outside of what was learnt"
    OTHER_PART = "size of the liver on slices outside of what was learnt"
    OTHER_FIELD = "field of view outside of what was learnt"
    OTHER_SLICES = "distance of slices outside of what was learnt"


OUTSIDE: Mapping[Feature, Concern] = {
    feature: Concern[f"OTHER_{feature.name}"] for feature in Feature
}
"""Concern about each feature of a scan."""


@dataclass(frozen=True)
class Quality:
    """Findings of the plausibility checks, in the order of `Concern`."""

    concerns: tuple[Concern, ...] = ()
    outside: tuple[Outside, ...] = ()
    """What is unlike the scans that the model learnt from; each of `concerns` too."""
    domain_checked: bool = True
    """Whether the scan was compared with those; some models do not state what they were like."""

    @property
    def details(self) -> tuple[str, ...]:
        """Value and learnt range of everything in `outside`, in words."""
        return tuple(each.text for each in self.outside)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Each concern in words, with values where there are any."""
        values = {OUTSIDE[each.feature]: each.text for each in self.outside}
        return tuple(values.get(concern, concern.value) for concern in self.concerns)

    @property
    def statement(self) -> Statement:
        """`REVIEW` if there is any concern."""
        return Statement.REVIEW if self.concerns else Statement.PLAUSIBLE


def check_quality(
    made: Segmentation,
    measured: Measurements,
    outside: Sequence[Outside] | None = None,
    calibration: Calibration | None = None,
) -> Quality:
    """Check the plausibility of a result that contains liver.

    Args:
        made: the result.
        measured: of it.
        outside: what is unlike the scans that the model learnt from; None if it was not compared.
        calibration: how much the model's members agree on patients, if it states that.
    """
    found = {
        *_size(measured),
        *_ends(made.label_map),
        *_pieces(made, measured),
        *_disputes(made, measured, calibration or Calibration()),
        *_level(made),
        *(OUTSIDE[each.feature] for each in outside or ()),
    }
    # Through the enum, for a fixed order: `found` is a set.
    concerns = tuple(concern for concern in Concern if concern in found)
    return Quality(concerns, tuple(outside or ()), outside is not None)


def _size(measured: Measurements) -> Iterator[Concern]:
    least, most = LIVER_ML
    if measured.liver_ml < least:
        yield Concern.SMALL
    if measured.liver_ml > most:
        yield Concern.LARGE


def _ends(label_map: LabelMap) -> Iterator[Concern]:
    """Check whether the liver may extend beyond the series."""
    # Half a liver measures as a whole small one, so its volume would look plausible.
    if label_map.labels[0].any():
        yield Concern.FIRST_SLICE
    if label_map.labels[-1].any():
        yield Concern.LAST_SLICE


def _pieces(made: Segmentation, measured: Measurements) -> Iterator[Concern]:
    if made.dropped_ml > DROPPED_PART * measured.liver_ml:
        yield Concern.PIECES


def _disputes(
    made: Segmentation, measured: Measurements, calibration: Calibration
) -> Iterator[Concern]:
    if _disputed(made, Label.LIVER, calibration):
        yield Concern.LIVER_DISPUTED
    # Without lesions the members may have disagreed on specks, which the clean-up removed.
    if measured.lesions and _disputed(made, Label.TUMOUR, calibration):
        yield Concern.TUMOUR_DISPUTED


def _disputed(made: Segmentation, label: Label, calibration: Calibration) -> bool:
    # A model of one network has no agreement.
    return made.agreement.get(label, 1.0) < least_agreement(calibration, label)


def least_agreement(calibration: Calibration, label: Label) -> float:
    """Return the agreement of the members below which a result is to be reviewed."""
    stated = calibration.least_agreement(label)
    return max(stated.least, AGREEMENT[label]) if stated else AGREEMENT[label]


def _level(made: Segmentation) -> Iterator[Concern]:
    """Check for a phase, or a steatosis, that the model did not learn from."""
    # A shift is only made where the level lies out of the model's bounds.
    if made.shift_hu:
        yield Concern.LEVEL
