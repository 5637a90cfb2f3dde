"""Which series are to be done before all others.

Nothing in a CT image says so of itself: Requested Procedure Priority (0040,1003) belongs to the
worklist and seldom travels on. So an administrator also names the scanners of the emergency room
by the AE titles under which they call, or words in the descriptions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError

from dicom_node.errors import UNREADABLE
from dicom_node.selection.rules import DESCRIBED, Rules
from dicom_node.selection.why_not import why_not_described

PRIORITIES = {"STAT", "HIGH"}
"""Of Requested Procedure Priority's values (PS3.3 C.4.11), those that will not wait."""


@dataclass(frozen=True)
class PriorityRules:
    """What makes a series urgent, beside its own priority; either is enough."""

    calling: Sequence[str] = ()
    """AE titles of senders all of whose series are urgent."""
    include: Mapping[str, str] = field(default_factory=dict)
    """Attribute of `rules.DESCRIBED` to a regular expression found in it; all must be."""

    def __post_init__(self) -> None:
        Rules(include=self.include)  # refuses what is no rule

    def asks(self, header: Dataset) -> bool:
        """Tell whether an instance's header asks for haste."""
        priority = str(header.get("RequestedProcedurePriority") or "").strip().upper()
        sender = getattr(header, "file_meta", Dataset()).get("SendingApplicationEntityTitle")
        return (
            priority in PRIORITIES
            or str(sender or "").strip() in self.calling
            or bool(
                self.include and why_not_described([header], Rules(include=self.include)) is None
            )
        )

    def is_urgent(self, paths: Sequence[Path]) -> bool:
        """Tell whether a series, known by its files, is urgent; what cannot be read is not."""
        try:
            header = dcmread(
                paths[0],
                stop_before_pixels=True,
                specific_tags=["RequestedProcedurePriority", *DESCRIBED],
            )
        except (OSError, InvalidDicomError, *UNREADABLE):
            return False  # its job will say what is wrong with it
        return self.asks(header)
