"""Rules for the series that are handed to the node; the node applies its own rules as well."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

CORRECTION = "SEG"
"""Modality of what people make of results."""

OURS, PHANTOM = "Hepar", "Phantom"
"""Manufacturer (0008,0070) of the node's results, and model name of the series that `hepar phantom`
writes, which may be segmented."""


@dataclass(frozen=True)
class Rules:
    """Rules for series that are handed over without a request."""

    modalities: tuple[str, ...] = ("CT",)
    """With SEG, the node also gets the corrections that people save; its own results never."""
    min_instances: int = 5
    max_instances: int | None = None
    include: Mapping[str, str] = field(default_factory=dict)
    """Attribute, such as SeriesDescription, to an expression that must be found in it."""
    exclude: Mapping[str, str] = field(default_factory=dict)
    """The same, of which none may be found."""

    def why_not(self, tags: Mapping[str, str], instances: int) -> str | None:
        """Return why a series is not handed over, or None if it is.

        Args:
            tags: attributes of one of its instances, by keyword.
            instances: how many it has.
        """
        if reason := self.why_never(tags):
            return reason
        if tags.get("Modality") == CORRECTION:  # one instance, described by whoever drew it
            return None
        if instances < self.min_instances:
            return f"{instances} instances are fewer than {self.min_instances}"
        if self.max_instances is not None and instances > self.max_instances:
            return f"{instances} instances are more than {self.max_instances}"
        for keyword, expression in self.include.items():
            if not re.search(expression, tags.get(keyword, "")):
                return f"{keyword} {tags.get(keyword, '')!r} has no {expression!r}"
        for keyword, expression in self.exclude.items():
            if re.search(expression, tags.get(keyword, "")):
                return f"{keyword} {tags.get(keyword, '')!r} has {expression!r}"
        return None

    def why_never(self, tags: Mapping[str, str]) -> str | None:
        """Return why not even a person can have the series handed over, or None if one can."""
        # Before the modality: a rule that lets SEG through must not lead results in a circle.
        if tags.get("Manufacturer") == OURS and tags.get("ManufacturerModelName") != PHANTOM:
            return "it is a result of Hepar"
        modality = tags.get("Modality", "")
        if modality not in self.modalities:
            return f"Modality {modality!r} is not {' or '.join(self.modalities)}"
        return None
