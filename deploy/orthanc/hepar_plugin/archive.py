"""Orthanc as the plugin uses it: series, what is noted on them, and sending them."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

ASKED_AET = "HEPAR_AGAIN"
"""AE title under which the node is called when a person asks: it does known work again."""

COPIES = ("AnonymizedFrom", "ModifiedFrom")
"""Metadata of resources that Orthanc's /anonymize and /modify made of others."""

NOTE = 5721
"""Orthanc leaves metadata and properties from 1024 on to its users; this number is ours."""

SEND_TIMEOUT_S = 60


class ArchiveError(Exception):
    """Orthanc did not do what it was asked."""


class Archive:
    """Speaks with the Orthanc that the plugin lives in.

    Args:
        orthanc: the module of that name, which exists only inside Orthanc.
    """

    def __init__(self, orthanc: Any) -> None:
        self._orthanc = orthanc

    def get(self, path: str) -> Any:
        """Return what Orthanc's REST interface answers, read as JSON.

        Raises:
            ArchiveError: there is no such thing.
        """
        return json.loads(self._get(path))

    def tags(self, series: str) -> dict[str, str]:
        """Return the plain attributes of one of the series' instances, by keyword."""
        # Always the same one: `Instances` comes in any order.
        first = min(self.instances(series))
        tags = self.get(f"/instances/{first}/simplified-tags")
        return {keyword: value for keyword, value in tags.items() if isinstance(value, str)}

    def instances(self, series: str) -> list[str]:
        """Return Orthanc's names of the series' instances."""
        return list(self.get(f"/series/{series}")["Instances"])

    def fingerprint(self, series: str) -> str:
        """Return a digest of the instances that the series has now."""
        # Orthanc's names of instances are hashes of their UIDs: a new version of one has the same
        # name.
        return hashlib.sha256("\n".join(sorted(self.instances(series))).encode()).hexdigest()

    def handed_over(self, series: str) -> str:
        """Return the fingerprint of what the node got of the series; empty if nothing."""
        try:
            return self._get(f"/series/{series}/metadata/{NOTE}").decode()
        except ArchiveError:
            return ""

    def note_handed_over(self, series: str, fingerprint: str) -> None:
        """Remember, as long as the series is kept, what the node got of it."""
        try:
            self._orthanc.RestApiPut(f"/series/{series}/metadata/{NOTE}", fingerprint.encode())
        except self._orthanc.OrthancException as error:
            raise ArchiveError(f"cannot write metadata of series {series}: {error}") from error

    def is_copy(self, series: str) -> bool:
        """Return whether the series is an anonymised or modified copy of another one."""
        study = self.get(f"/series/{series}").get("ParentStudy", "")
        # On both levels: a series may be copied by itself, or with its study.
        places = [f"/series/{series}", *([f"/studies/{study}"] if study else [])]
        return any(self._has(f"{place}/metadata/{each}") for place in places for each in COPIES)

    def has_instance(self, uid: str) -> bool:
        """Return whether Orthanc keeps an object of this SOP Instance UID."""
        try:
            found = json.loads(self._orthanc.RestApiPost("/tools/lookup", uid.encode()))
        except (self._orthanc.OrthancException, ValueError):
            return True  # not known, so nothing is claimed to be lost
        return any(each.get("Type") == "Instance" for each in found)

    def send(self, series: str, modality: str, *, asked: bool = False) -> None:
        """Send every instance of the series by C-STORE.

        Args:
            series: Orthanc's name of it.
            modality: key of the node in `DicomModalities`.
            asked: whether a person asked for it, so that the node does it even if it did before.

        Raises:
            ArchiveError: the node is away, or refused an instance.
        """
        order: dict[str, Any] = {
            "Resources": [series],
            # The answer is then the outcome; a job of Orthanc's would have to be watched.
            "Synchronous": True,
            "Timeout": SEND_TIMEOUT_S,
        }
        if asked:
            order["LocalAet"] = ASKED_AET
        try:
            self._orthanc.RestApiPost(f"/modalities/{modality}/store", json.dumps(order).encode())
        except self._orthanc.OrthancException as error:
            raise ArchiveError(f"C-STORE to {modality} failed: {error}") from error

    def waiting(self) -> Mapping[str, bool]:
        """Return the series that waited when Orthanc last stopped: whether a person asked."""
        text = self._orthanc.GetGlobalProperty(NOTE, "{}")
        return dict(json.loads(text))

    def note_waiting(self, waiting: Mapping[str, bool]) -> None:
        """Remember what waits; it outlives Orthanc."""
        try:
            self._orthanc.SetGlobalProperty(NOTE, json.dumps(waiting))
        except self._orthanc.OrthancException as error:
            raise ArchiveError(f"cannot note what waits: {error}") from error

    def warn(self, message: str) -> None:
        """Write a line into Orthanc's log."""
        self._orthanc.LogWarning(f"Hepar: {message}")

    def _has(self, path: str) -> bool:
        try:
            return bool(self._get(path))
        except ArchiveError:
            return False

    def _get(self, path: str) -> bytes:
        try:
            return bytes(self._orthanc.RestApiGet(path))
        except self._orthanc.OrthancException as error:
            raise ArchiveError(f"Orthanc has no {path}: {error}") from error
