"""Serving model and shadow model on the same corrections: paired, with interval and sign count.

The words are those of Metrics Reloaded (Maier-Hein et al. 2024): the Dice similarity coefficient
(DSC) of each image, averaged over images.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import mean

import numpy as np

from dicom_node.corrections.agreement import STRUCTURES
from dicom_node.corrections.correction import Correction, ShadowDice, newest_of_each_result

FEWEST = 10
"""Paired results below which nothing is concluded."""

ROUNDS = 4000
"""Bootstrap samples of the interval."""

Pair = tuple[float, float]
"""DSC of the serving and of the shadow model, on one image."""


@dataclass(frozen=True)
class PairedDice:
    """One structure: the same images by both models."""

    structure: str
    count: int
    """Images on which both have a figure."""
    serving: float
    """Mean DSC."""
    shadow: float
    """Mean DSC."""
    difference: float
    """Mean of shadow minus serving."""
    interval: tuple[float, float] | None
    """95 % bootstrap interval of the difference, over images; None where there are too few."""
    better: int
    """Images on which the shadow agrees more."""
    worse: int
    """Images on which it agrees less; on the rest both are equal."""

    @property
    def conclusion(self) -> str:
        """What the figures allow to say."""
        if self.interval is None:
            return f"too few to tell: {self.count} of at least {FEWEST}"
        low, high = self.interval
        if low > 0:
            return "the shadow agrees more"
        return "the shadow agrees less" if high < 0 else "no difference can be told"

    @property
    def agrees_less(self) -> bool:
        """Whether the shadow agrees less, by the interval."""
        return self.interval is not None and self.interval[1] < 0


@dataclass(frozen=True)
class SideBySide:
    """A serving model and a shadow model on the results that both computed and people corrected."""

    model: str
    """Name and version of the serving model."""
    digest: str
    shadow: str
    """Name and version of the shadow model."""
    shadow_digest: str
    count: int
    """Corrected results that both are compared with."""
    structures: tuple[PairedDice, ...]

    @property
    def enough(self) -> bool:
        """Whether there are enough corrected results to say anything."""
        return self.count >= FEWEST

    @property
    def agrees_less(self) -> bool:
        """Whether the shadow agrees less in a structure, by the interval."""
        return any(each.agrees_less for each in self.structures)


def side_by_side(corrections: Sequence[Correction]) -> list[SideBySide]:
    """Return each serving model with each shadow model, the pair of the newest correction first."""
    groups: dict[tuple[str, str], list[tuple[Correction, ShadowDice]]] = defaultdict(list)
    for each in reversed(newest_of_each_result(list(corrections))):
        for shadow in each.shadows:
            # A shadow that serves by now has nothing to be compared with.
            if not shadow.reason and shadow.digest != each.digest:
                groups[each.digest, shadow.digest].append((each, shadow))
    return [_side_by_side(group) for group in groups.values()]


def pair_of(corrections: Sequence[Correction], digest: str, shadow: str) -> SideBySide | None:
    """Return one serving model with one shadow model, by their digests; None without a result."""
    found = side_by_side(corrections)
    return next((e for e in found if (e.digest, e.shadow_digest) == (digest, shadow)), None)


def _side_by_side(group: Sequence[tuple[Correction, ShadowDice]]) -> SideBySide:
    correction, shadow = group[0]
    structures = []
    for name in STRUCTURES:
        both = [(c.dice[name], s.dice[name]) for c, s in group if name in c.dice and name in s.dice]
        if both:
            structures.append(_paired(name, tuple(both)))
    return SideBySide(
        correction.model,
        correction.digest,
        shadow.model,
        shadow.digest,
        len(group),
        tuple(structures),
    )


@lru_cache(maxsize=64)
def _paired(structure: str, pairs: tuple[Pair, ...]) -> PairedDice:
    """Return the figures of one structure; kept, as the page asks every few seconds."""
    differences = [shadow - serving for serving, shadow in pairs]
    return PairedDice(
        structure,
        len(pairs),
        mean(serving for serving, _ in pairs),
        mean(shadow for _, shadow in pairs),
        mean(differences),
        _interval(differences) if len(pairs) >= FEWEST else None,
        sum(each > 0 for each in differences),
        sum(each < 0 for each in differences),
    )


def _interval(differences: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval of the mean by the percentile bootstrap, the same each time."""
    values = np.asarray(differences)
    chosen = np.random.default_rng(0).integers(0, len(values), (ROUNDS, len(values)))
    low, high = np.percentile(values[chosen].mean(axis=1), (2.5, 97.5))
    return float(low), float(high)
