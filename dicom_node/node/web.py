"""Web server and alerts of a running node, if the configuration asks for them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

from dicom_node.alerts.channels import Channel, channels
from dicom_node.alerts.watch import Watch, watching
from dicom_node.config.settings import Settings
from dicom_node.data_folder import DataFolder
from dicom_node.deliver.peer_interface import Peer
from dicom_node.jobs.ledger import Ledger, open_ledger
from dicom_node.jobs.other_steps import OF_THIS_RELEASE, waiting_for_newer
from dicom_node.node.receiving import Reception
from dicom_node.pipeline.segmenter import SegmentationSetup
from dicom_node.results.attributes.segment_description import Algorithm
from dicom_node.tryout.desk import Desk
from dicom_node.web.health import Health
from dicom_node.web.troubles import Troubles
from dicom_node.web.view import Arriving, NodeView, Progress, ShadowStatus
from engine.serving.fleet import Fleet


@dataclass(frozen=True)
class Seen:
    """The parts of a node that its page shows."""

    setup: SegmentationSetup
    reception: Reception
    fleet: Fleet
    progress: Progress
    desk: Desk | None
    peers: Mapping[str, Peer]
    shadow: Callable[[], ShadowStatus | None]
    backlog_model: str = ""
    """Name and version of the faster model for a backlog; empty without one."""


@contextmanager
def serve_page(settings: Settings, seen: Seen) -> Iterator[tuple[str, int] | None]:
    """Serve the node's page and send alerts while the block lasts.

    Yields host and port of the page, None where there is none.

    Raises:
        AlreadyRunning: the port is taken.
    """
    if settings.http.port is None and not channels(settings.alerts):
        yield None
        return
    with serve_view(_view(settings, seen)) as address:
        yield address


@contextmanager
def serve_view(view: NodeView) -> Iterator[tuple[str, int] | None]:
    """Serve the page of a view and send its alerts while the block lasts; yields as above."""
    with ExitStack() as stack:
        if watched := channels(view.settings.alerts):
            stack.enter_context(_alerting(view, watched))
        if view.settings.http.port is None:
            yield None
            return
        from dicom_node.web.server import serve_web  # 0.2 s of imports

        yield stack.enter_context(serve_web(view))


def _view(settings: Settings, seen: Seen) -> NodeView:
    view = reception_view(settings, seen.setup.algorithm, seen.reception)
    return replace(
        view,
        device=lambda: seen.fleet.device().name,
        progress=seen.progress,
        desk=seen.desk,
        peers=seen.peers,
        shadow=seen.shadow,
        newer_waiting=_newer_waiting(settings),
        backlog_model=seen.backlog_model,
    )


def _newer_waiting(settings: Settings) -> Callable[[Ledger], str]:
    """Return what looks for jobs that a newer release has queued in this node's folder."""
    folder = DataFolder(settings.node.data).name
    return lambda ledger: waiting_for_newer(ledger.queued(folder), OF_THIS_RELEASE)


def reception_view(settings: Settings, algorithm: Algorithm, reception: Reception) -> NodeView:
    """Return the view of what receives, which computes nothing."""
    assembler = reception.assembler

    def arriving() -> list[Arriving]:
        return [
            Arriving(
                key.study_uid,
                key.series_uid,
                len(assembler.spool.paths(key)),
                assembler.expected(key.series_uid),
            )
            for key in assembler.arriving()
        ]

    return NodeView(
        settings,
        algorithm,
        reception.address,
        arriving,
        lambda: assembler.running and assembler.busy_s < settings.http.stuck_s,
        device=None,
        listener=assembler,
        received=assembler.spool,
    )


@contextmanager
def _alerting(view: NodeView, watched: Mapping[str, Channel]) -> Iterator[None]:
    """Watch the node while the block lasts."""
    alerts, begun = view.settings.alerts, datetime.now(UTC)
    with open_ledger(view.settings.database_url) as ledger:
        health = Health(view, ledger)
        title = view.settings.node.ae_title
        troubles = partial(Troubles, health, ledger, begun, view.corrections.all, view.shadow)
        watches = {
            name: Watch(title, troubles(), channel, after_s=alerts.after_s)
            for name, channel in watched.items()
        }
        with watching(watches, alerts.every_s):
            yield
