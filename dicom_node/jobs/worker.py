"""What the node's workflows ask for, done. This is where a job's errors are logged, once."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dicom_node.data_folder import DataFolder
from dicom_node.deliver.attempts import ConfirmAnswer, Missing, SendAnswer
from dicom_node.deliver.peer_interface import Peer
from dicom_node.deliver.sop_reference import read_reference
from dicom_node.error_location import error_location
from dicom_node.errors import (
    BadCredentials,
    NodeError,
    NotFoundYet,
    NotKept,
    PeerRefused,
    PeerUnavailable,
    Unforeseen,
)
from dicom_node.jobs.backoff import Backoff
from dicom_node.jobs.viewer_link import seg_link
from dicom_node.pipeline.outcome import Outcome, Verdict
from dicom_node.pipeline.process import process
from dicom_node.pipeline.segmenter import Segmenter
from dicom_node.results.objects import SEG, Profile, item_name
from engine.errors import EngineError
from engine.serving.turns import DeviceQueue

logger = logging.getLogger(__name__)

JobProgress = Callable[[str, int, int], None]
"""Called with a job, how many of its slices are computed, and of how many."""


@dataclass(frozen=True)
class SeriesWorker:
    """Segments series and delivers results; answers in JSON's own types."""

    methods: Segmenter
    data: DataFolder
    peers: Mapping[str, Peer]
    profiles: Mapping[str, Profile]
    """What each of the peers gets."""
    patience: Backoff
    progress: JobProgress
    viewer: str | None = None
    """`ViewerSection.url`, if there is a viewer."""
    turns: DeviceQueue = field(default_factory=DeviceQueue)
    """Who is next on the device."""

    def segment(
        self, job: str, series_uid: str, paths: list[str], *, urgent: bool = False
    ) -> dict[str, Any]:
        """Segment a series; return its outcome, and each file with the peer it is to go to."""
        with _errors_logged("segment", series_uid):
            outcome = self.methods.run(
                lambda method: process(
                    [Path(path) for path in paths],
                    self.data.result(job),
                    replace(method, device=self.turns.on(method.device, urgent=urgent)),
                    series=series_uid,
                    progress=lambda done, of: self.progress(job, done, of),
                )
            )
        if outcome.verdict is not Verdict.SEGMENTED:
            logger.info(
                "no SEG: %s", outcome.reason, extra={"action": "skip", "series": series_uid}
            )
        return {"outcome": outcome.to_json(), "deliveries": self._deliveries(outcome)}

    def deliver(self, series_uid: str, peer: str, file: Path) -> dict[str, Any]:
        """Send `file` once; return a `SendAnswer`.

        Raises:
            PeerRefused: the peer will never accept it, or is no longer configured.
        """
        begun = time.perf_counter()
        extra = {"action": "deliver", "series": series_uid, "peer": peer}
        with _errors_logged("deliver", series_uid):
            try:
                changed = self._peer(peer).send(file)
            except NodeError as error:
                if not error.transient:
                    raise
                logger.warning("not delivered yet: %s", error, extra=extra)
                return SendAnswer(str(error) or type(error).__name__, **_policy(error)).to_json()
        seconds = time.perf_counter() - begun
        logger.info("done", extra={**extra, "seconds": seconds})
        return SendAnswer(seconds=seconds, changed=changed).to_json()

    def confirm(self, series_uid: str, peer: str, file: Path) -> dict[str, Any]:
        """Ask once whether `peer` keeps the object in `file`; return a `ConfirmAnswer`.

        Raises:
            PeerRefused: the peer will never answer that, or is no longer configured.
        """
        begun = time.perf_counter()
        extra = {"action": "confirm", "series": series_uid, "peer": peer}
        with _errors_logged("confirm", series_uid):
            try:
                by = self._peer(peer).confirm(file)
            except NodeError as error:
                if not error.transient:
                    raise
                logger.warning("not confirmed yet: %s", error, extra=extra)
                return ConfirmAnswer(
                    str(error) or type(error).__name__, missing=_missing(error), **_policy(error)
                ).to_json()
        logger.info("by %s", by, extra={**extra, "seconds": time.perf_counter() - begun})
        if item_name(file) == SEG.name:
            self._say_where_to_look(series_uid, file)
        return ConfirmAnswer(by=str(by)).to_json()

    def pauses(self) -> Iterator[float]:
        """Yield how long to wait after each failed delivery."""
        return self.patience.pauses()

    def _deliveries(self, outcome: Outcome) -> list[list[str]]:
        return [
            [peer, f"{item.name}-{each.stack}" if each.stack else item.name, str(file)]
            for each in outcome.each
            if each.seg is not None
            for peer, profile in sorted(self.profiles.items())
            for item in profile.items
            for file in [item.file_beside(each.seg)]
        ]

    def _say_where_to_look(self, series_uid: str, seg: Path) -> None:
        result = read_reference(seg)
        if link := seg_link(self.viewer, result.study_uid, result.series_uid):
            logger.info("see %s", link, extra={"action": "view", "series": series_uid})

    def _peer(self, name: str) -> Peer:
        if name not in self.peers:
            known = ", ".join(sorted(self.peers))
            raise PeerRefused(
                f"no peer {name!r} in the configuration, only {known}; add it and retry the job"
            )
        return self.peers[name]


def _policy(error: NodeError) -> dict[str, Any]:
    """Return what an error asks of the next attempt."""
    wait_s = error.wait_s if isinstance(error, PeerUnavailable) else 0.0
    return {"wait_s": wait_s, "credentials": isinstance(error, BadCredentials)}


def _missing(error: NodeError) -> Missing:
    if isinstance(error, NotFoundYet):
        return Missing.NOT_FOUND
    return Missing.DENIED if isinstance(error, NotKept) else Missing.NO


@contextmanager
def _errors_logged(action: str, series: str) -> Iterator[None]:
    """Log what ends a step; the workflow store keeps it, so it goes on up.

    Raises:
        Unforeseen: in place of what is no error of ours; the store tells it to whoever asks.
    """
    extra = {"action": action, "series": series}
    try:
        yield
    except (NodeError, EngineError, OSError) as error:
        logger.error("failed: %s", error, extra=extra)
        raise
    except Exception as error:
        told = Unforeseen(
            f"unforeseen {error_location(error)}; the message may name the patient and is withheld"
        )
        logger.error("failed: %s", told, extra=extra)
        raise told from None
