"""State of a study: its series that went to the node, and their results."""

from typing import Any

from hepar_plugin.archive import Archive
from hepar_plugin.handover import Handover
from hepar_plugin.node import ask_node
from hepar_plugin.settings import Settings

GONE = "done, but the SEG is not in this archive"
"""State of a series whose result was deleted here, or went elsewhere."""

SHOWN = ("state", "reason", "viewer", "millilitres", "review")
"""Fields of a job that are shown for its series; an older node has fewer."""


def describe_study(
    study: str, archive: Archive, handover: Handover, settings: Settings
) -> dict[str, Any]:
    """Return the state of a study and of each series that the node could work on.

    Raises:
        ArchiveError: there is no such study.
    """
    found = archive.get(f"/studies/{study}")
    uid = found["MainDicomTags"]["StudyInstanceUID"]
    node = ask_node(settings.state_url, uid)
    # The oldest first, so that the last of a series stays.
    latest = {job["series"]: job for job in node.jobs}
    series = [
        _describe_series(each, archive, handover, latest)
        for each in found["Series"]
        if settings.rules.why_never(archive.tags(each)) is None
    ]
    return {"study": uid, "trouble": node.trouble, "series": series}


def _describe_series(
    series: str, archive: Archive, handover: Handover, latest: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    tags = archive.tags(series)
    waiting = handover.waiting().get(series)
    job = latest.get(tags["SeriesInstanceUID"], {})
    said: dict[str, Any] = {
        "id": series,
        "series": tags["SeriesInstanceUID"],
        "description": tags.get("SeriesDescription", ""),
        "number": tags.get("SeriesNumber", ""),
        "state": "not sent",
        "reason": "",
        "viewer": None,
        "millilitres": {},
        "review": [],
    }
    if waiting:
        return said | {"state": "waiting for the node", "reason": waiting.reason}
    if job:
        said |= {key: job[key] for key in SHOWN if key in job}
        seg = job.get("seg") or {}
        if said["state"] == "done" and seg and not archive.has_instance(seg["instance"]):
            return said | {"state": GONE, "viewer": None}
        return said
    if archive.is_copy(series):
        return said | {"reason": "a copy (anonymised or modified); the button sends it"}
    return said | ({"state": "sent"} if archive.handed_over(series) else {})


def ask_for_study(
    study: str, archive: Archive, handover: Handover, settings: Settings
) -> dict[str, str]:
    """Hand over the study's series that the rules allow; return the answer for each CT.

    Raises:
        ArchiveError: there is no such study.
    """
    said = {}
    for series in archive.get(f"/studies/{study}")["Series"]:
        tags = archive.tags(series)
        if settings.rules.why_never(tags):
            continue
        reason = settings.rules.why_not(tags, len(archive.instances(series)))
        if reason is None:
            handover.ask(series)
        said[series] = reason or "sent to the node"
    return said


def ask_for_series(
    series: str, archive: Archive, handover: Handover, settings: Settings
) -> dict[str, str]:
    """Hand over one series, whatever the rules say of its size and description.

    Raises:
        ArchiveError: there is no such series.
    """
    reason = settings.rules.why_never(archive.tags(series))
    if reason is None:
        handover.ask(series)
    return {series: reason or "sent to the node"}
