"""What is looked for in an archive, and what was found there."""

import re
from dataclasses import dataclass
from datetime import date, timedelta

from pydicom import Dataset

from dicom_node.errors import BadConfiguration

DAYS = {"today": 0, "yesterday": 1}


@dataclass(frozen=True)
class StudyQuery:
    """Which studies: one, or those since a day, or both conditions together."""

    study_uid: str = ""
    since: date | None = None
    """First Study Date (0008,0020)."""
    modality: str = ""
    """What a study must hold; empty: anything."""

    @property
    def attributes(self) -> dict[str, str]:
        """The matching keys of a query on the level of studies (PS3.4 C.2.2.2)."""
        keys = {"StudyInstanceUID": self.study_uid, "ModalitiesInStudy": self.modality}
        if self.since:
            keys["StudyDate"] = f"{self.since:%Y%m%d}-"
        return {keyword: value for keyword, value in keys.items() if value}


@dataclass(frozen=True)
class FoundSeries:
    """A series that an archive has."""

    study_uid: str
    series_uid: str
    header: Dataset
    """What the archive told of it and its study."""

    @property
    def instances(self) -> int | None:
        """How many instances the archive says it has."""
        count = self.header.get("NumberOfSeriesRelatedInstances")
        return int(count) if count not in (None, "") else None


def to_date(text: str, today: date) -> date:
    """Return the day that `text` names: today, yesterday, 7d (days ago) or 2026-01-31.

    Raises:
        BadConfiguration: it names none.
    """
    if text in DAYS:
        return today - timedelta(days=DAYS[text])
    if ago := re.fullmatch(r"(\d{1,5})d", text):
        return today - timedelta(days=int(ago[1]))
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise BadConfiguration(
            f"{text!r} is no day; today, yesterday, 7d or 2026-01-31 would do"
        ) from error
