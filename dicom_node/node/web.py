"""Web server of a running node, if the configuration asks for one."""

from collections.abc import Iterator
from contextlib import contextmanager

from dicom_node.config.settings import Settings
from dicom_node.node.receiving import Reception
from dicom_node.pipeline.segmenter import SegmentationSetup
from dicom_node.web.view import Arriving, NodeView, Progress
from engine.serving.fleet import Fleet


@contextmanager
def serve_page(
    settings: Settings,
    setup: SegmentationSetup,
    reception: Reception,
    fleet: Fleet,
    progress: Progress,
) -> Iterator[tuple[str, int] | None]:
    """Serve the node's page while the block lasts; yields host and port, None where there is none.

    Raises:
        AlreadyRunning: the port is taken.
    """
    if settings.http.port is None:
        yield None
        return
    from dicom_node.web.server import serve_web  # 0.2 s of imports

    def arriving() -> list[Arriving]:
        assembler = reception.assembler
        return [
            Arriving(key.study_uid, key.series_uid, len(assembler.spool.paths(key)))
            for key in assembler.arriving()
        ]

    view = NodeView(
        settings,
        setup.algorithm,
        reception.address,
        arriving,
        lambda: reception.assembler.running,
        lambda: fleet.device().name,
        progress,
        reception.assembler,
        reception.assembler.spool,
    )
    with serve_web(view) as address:
        yield address
