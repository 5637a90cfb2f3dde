"""Comparison of a scan with those that a model learnt from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from engine.findings.scan_features import scan_features
from engine.manifest import Domain, Feature, Range
from engine.volume import LabelMap, Volume

DECIMALS = 1
"""Of every value and range, so that a value beside its range never looks as if it were in it."""

SENTENCES: Mapping[Feature, str] = {
    Feature.LEVEL: "liver of {} HU",
    Feature.SPREAD: "spread of {} HU in the liver",
    Feature.NOISE: "noise of {} HU in the liver",
    Feature.VESSELS: "vessels {} HU above the liver",
    Feature.CONTRAST: "liver {} HU above the tissue around it",
    Feature.CUT: "{} % of the liver outside of the HU that the model sees",
    Feature.PART: "{} % of the slices is liver",
    Feature.FIELD: "field of view of {} mm",
    Feature.SLICES: "slices {} mm apart",
}


@dataclass(frozen=True)
class Outside:
    """A feature of a scan that lies outside of what was learnt."""

    feature: Feature
    value: float
    learnt: Range

    @property
    def text(self) -> str:
        """Value and learnt range in plain words."""
        found = SENTENCES[self.feature].format(_plain(self.value))
        return f"{found}; learnt: {_plain(self.learnt.low)} to {_plain(self.learnt.high)}"


def outside_of(domain: Domain, volume: Volume, label_map: LabelMap) -> tuple[Outside, ...]:
    """Return what is unlike the scans that were learnt from, in the order of `Feature`."""
    return tuple(_outside(domain, scan_features(volume, label_map, domain.hu_bounds)))


def _outside(domain: Domain, found: Mapping[Feature, float]) -> Iterator[Outside]:
    for feature in Feature:
        if feature in found and feature in domain.ranges:
            value, learnt = round(found[feature], DECIMALS), domain.ranges[feature]
            if not learnt.low <= value <= learnt.high:
                yield Outside(feature, value, learnt)


def _plain(value: float) -> str:
    return f"{round(value, DECIMALS):g}"
