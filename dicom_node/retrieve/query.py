"""Queries for series in an archive, and their matches."""

import re
from dataclasses import dataclass
from datetime import date, timedelta

from pydicom import Dataset

from dicom_node.errors import BadConfiguration

DAYS = {"today": 0, "yesterday": 1}


@dataclass(frozen=True)
class StudyQuery:
    """Studies to look for: one, or those since a day; both conditions may stand together."""

    study_uid: str = ""
    since: date | None = None
    """First Study Date (0008,0020)."""
    modality: str = ""
    """Modality that a study must contain; empty: any."""

    @property
    def attributes(self) -> dict[str, str]:
        """The matching keys of a query on the level of studies (PS3.4 C.2.2.2)."""
        keys = {"StudyInstanceUID": self.study_uid, "ModalitiesInStudy": self.modality}
        if self.since:
            keys["StudyDate"] = f"{self.since:%Y%m%d}-"
        return {keyword: value for keyword, value in keys.items() if value}

    def matches(self, study: Dataset) -> bool:
        """Return whether a study in an answer is one that was asked for.

        Some archives ignore a matching key and return everything. A study without a date counts:
        the archive may not return it.
        """
        if self.study_uid and str(study.get("StudyInstanceUID")) != self.study_uid:
            return False
        day = str(study.get("StudyDate") or "")
        # DICOM's dates, YYYYMMDD, compare as text.
        return not (self.since and day) or day >= f"{self.since:%Y%m%d}"


@dataclass(frozen=True)
class FoundSeries:
    """A series that an archive has."""

    study_uid: str
    series_uid: str
    header: Dataset
    """Attributes of the series and its study, as far as the archive returns them."""

    @property
    def instances(self) -> int | None:
        """Number of instances according to the archive; None if it does not return that."""
        count = self.header.get("NumberOfSeriesRelatedInstances")
        return int(count) if count not in (None, "") else None


def to_date(text: str, today: date) -> date:
    """Return the day that `text` names: today, yesterday, 7d (days ago) or 2026-01-31.

    Raises:
        BadConfiguration: the text is none of these.
    """
    if text in DAYS:
        return today - timedelta(days=DAYS[text])
    # Five digits: more days lead before the year 1, where `date` ends.
    if ago := re.fullmatch(r"(\d{1,5})d", text):
        return today - timedelta(days=int(ago[1]))
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise BadConfiguration(
            f"{text!r} is not a day; allowed: today, yesterday, 7d (days ago), 2026-01-31"
        ) from error
