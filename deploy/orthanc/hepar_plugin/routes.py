"""The plugin's routes in Orthanc's REST interface.

GET  /hepar                         what waits for the node
GET  /hepar/studies/{id}            what became of a study
POST /hepar/studies/{id}/segment    hand over the series that the rules allow
POST /hepar/series/{id}/segment     hand over this one
"""

import json
from collections.abc import Callable
from typing import Any

from hepar_plugin.archive import Archive, ArchiveError
from hepar_plugin.handover import Handover
from hepar_plugin.settings import Settings
from hepar_plugin.study import ask_for_series, ask_for_study, describe_study

# A SHA-1 in five groups of eight: how Orthanc names patients, studies, series and instances.
ORTHANC_ID = "([0-9a-f]{8}(?:-[0-9a-f]{8}){4})"


def register(orthanc: Any, archive: Archive, handover: Handover, settings: Settings) -> None:
    """Add the routes to Orthanc."""
    parts = archive, handover, settings

    def route(path: str, method: str, answer: Callable[[str], Any]) -> None:
        orthanc.RegisterRestCallback(path, _callback(method, answer))

    route("/hepar", "GET", lambda _: _overview(handover, settings))
    route(f"/hepar/studies/{ORTHANC_ID}", "GET", lambda study: describe_study(study, *parts))
    route(
        f"/hepar/studies/{ORTHANC_ID}/segment",
        "POST",
        lambda study: ask_for_study(study, *parts),
    )
    route(
        f"/hepar/series/{ORTHANC_ID}/segment",
        "POST",
        lambda series: ask_for_series(series, *parts),
    )


def _callback(method: str, answer: Callable[[str], Any]) -> Callable[..., None]:
    """Return what Orthanc calls: (output, uri, method=…, groups=…, …)."""

    def call(output: Any, uri: str, **request: Any) -> None:
        if request["method"] != method:
            output.SendMethodNotAllowed(method)
            return
        try:
            said = answer(next(iter(request["groups"]), ""))
        except ArchiveError:
            output.SendHttpStatusCode(404)
            return
        output.AnswerBuffer(json.dumps(said), "application/json")

    return call


def _overview(handover: Handover, settings: Settings) -> dict[str, Any]:
    return {
        "modality": settings.modality,
        "automatic": settings.automatic,
        "waiting": {
            series: {"attempts": each.attempts, "reason": each.reason}
            for series, each in handover.waiting().items()
        },
    }
