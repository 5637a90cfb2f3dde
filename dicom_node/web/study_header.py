"""Study and accession number of a job, for those who may see them."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from dicom_node.attributes import text_of
from dicom_node.config.page_sections import HttpSection
from dicom_node.dicom_file import UNREADABLE_FILE, read_file
from dicom_node.jobs.state import Job
from dicom_node.web.access import Caller

TAGS = ["AccessionNumber", "StudyDate", "StudyDescription", "SpecificCharacterSet"]


@dataclass(frozen=True)
class StudyHeader:
    """The study that a job's series belongs to."""

    accession: str = ""
    date: str = ""
    """As YYYY-MM-DD where it is a date."""
    description: str = ""


def may_see_study(caller: Caller, http: HttpSection) -> bool:
    """Return whether a caller may see study and accession number (`http.show_patient`)."""
    return http.show_patient and caller.may_change


def study_header(job: Job) -> StudyHeader:
    """Return the study of a job, read from a file of it; empty once all are removed."""
    return next((each for each in map(_read, _files(job)) if each != StudyHeader()), StudyHeader())


def _files(job: Job) -> Iterable[Path]:
    """Return the files that have the attributes: a received one, or the SEG."""
    made = job.outcome.seg if job.outcome else None
    return [*job.paths[:1], *([made] if made else [])]


# The page asks every two seconds for up to a hundred jobs; a job's files do not change.
@lru_cache(maxsize=1000)
def _read(path: Path) -> StudyHeader:
    try:
        header = read_file(path, stop_before_pixels=True, specific_tags=TAGS)
    except UNREADABLE_FILE:
        return StudyHeader()
    date = text_of(header, "StudyDate")
    if len(date) == 8 and date.isdigit():
        date = f"{date[:4]}-{date[4:6]}-{date[6:]}"
    return StudyHeader(
        text_of(header, "AccessionNumber"), date, text_of(header, "StudyDescription")
    )
