"""The shadow model of a node, or of a cluster's workers, if the configuration names one."""

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from dicom_node.config.settings import Settings
from dicom_node.data_folder import DataFolder, locked
from dicom_node.errors import NodeError
from dicom_node.jobs.steps.series_worker import OnResult, ignore_result
from dicom_node.node.startup import OpenDevice, StartingNode, fleet_of
from dicom_node.pipeline.segmenter import Segmenter
from dicom_node.rounds import repeated
from dicom_node.shadow.runner import ShadowRunner
from dicom_node.shadow.work_register import WorkRegister
from dicom_node.web.view import ShadowStatus
from engine.errors import EngineError
from engine.model import Model, load_model
from engine.serving.turns import DeviceQueue
from engine.shipped import model_folder

logger = logging.getLogger(__name__)

SAME = "it is the model that serves"

LOOK_S = 15.0
"""Seconds between two looks of a worker at whether the one that computed has ended."""


@dataclass(frozen=True)
class Shadow:
    """The shadow model, or why there is none."""

    model: Model | None = None
    runner: ShadowRunner | None = None
    """That computes with it; None where others do."""
    trouble: str = ""
    """Why the configured model cannot be read; empty where it can, or none is configured."""

    @property
    def digest(self) -> str:
        """Digest of the shadow model; empty without one."""
        return self.model.digest if self.model else ""

    @property
    def on_result(self) -> OnResult:
        """What a worker calls with each result."""
        return self.runner.add if self.runner else ignore_result

    def status(self) -> ShadowStatus | None:
        """Return what pages and checks show; None without a shadow model."""
        if self.runner is not None:
            return ShadowStatus(self.runner.model, self.runner.device, self.runner.trouble)
        return ShadowStatus("", "", self.trouble) if self.trouble else None


def to_shadow(opened: StartingNode, queue: DeviceQueue) -> Shadow:
    """Return the shadow model of a node that starts; nothing is opened yet.

    A model that cannot be read, and a damaged register, are logged, and the node goes on.
    """
    settings, data = opened.settings, opened.data
    named = named_shadow(settings, opened.model)
    shadow = with_runner(named, settings, data, queue, opened.open_device)
    try:
        WorkRegister(data.shadow).take_up(shadow.digest)
    except (NodeError, OSError) as error:
        return _without(error)
    return shadow


def named_shadow(settings: Settings, serving: Model) -> Shadow:
    """Return the shadow model that the configuration names, which nothing computes yet."""
    if settings.engine.shadow is None:
        return Shadow()
    try:
        model = load_model(model_folder(settings.engine.shadow))
    except (EngineError, NodeError, OSError) as error:
        return _without(error)
    if model.digest == serving.digest:
        logger.info("no shadow model: %s", SAME, extra={"action": "shadow"})
        return Shadow()
    return Shadow(model)


def with_runner(
    shadow: Shadow,
    settings: Settings,
    data: DataFolder,
    queue: DeviceQueue,
    open_device: OpenDevice | None,
    cache: Path | None = None,
) -> Shadow:
    """Return a shadow with what computes it, if there is a model; no device is opened yet.

    Args:
        shadow: of `named_shadow`.
        settings: the configuration.
        data: folder of the node, or that the processes of a cluster share.
        queue: order in which the jobs of this process use its device.
        open_device: opens the device of a model in place of Hepar's own.
        cache: folder of compiled graphs; the data folder's when absent.
    """
    if shadow.model is None:
        return shadow
    fleet = fleet_of(shadow.model, settings, open_device, "shadow", cache)
    segmenter = Segmenter(shadow.model, settings.select, fleet)
    return replace(shadow, runner=ShadowRunner(segmenter, data, queue))


def status_of_cluster(shadow: Shadow, data: DataFolder) -> ShadowStatus | None:
    """Return what a page shows of a model that workers compute; None without a shadow model."""
    if shadow.model is None:
        return shadow.status()
    try:
        trouble = WorkRegister(data.shadow).trouble(shadow.digest)
    except (NodeError, OSError) as error:
        trouble = str(error)
    return ShadowStatus(f"{shadow.model.name} {shadow.model.version}", "a worker's device", trouble)


@contextmanager
def in_turn(shadow: Shadow, data: DataFolder) -> Iterator[None]:
    """Compute while the block lasts, in one at a time of the processes that share the folder.

    Once that one has ended, or died, another goes on.
    """
    if shadow.trouble:  # another worker may be able to read the model
        yield
        return
    with ExitStack() as held:

        def begin() -> bool:
            try:
                with ExitStack() as taken:
                    lock = os.open(data.shadow_lock, os.O_RDWR | os.O_CREAT, 0o600)
                    taken.callback(os.close, lock)
                    if not locked(lock):
                        return False
                    # Also without a shadow: what waits for an earlier one is given up.
                    WorkRegister(data.shadow).take_up(shadow.digest)
                    if shadow.runner is not None:
                        taken.enter_context(shadow.runner.working())
                        held.enter_context(taken.pop_all())
            except (NodeError, OSError) as error:
                _without(error)
                return False
            return True

        with repeated(begin, LOOK_S, "turn of the shadow"):
            yield


def _without(error: Exception) -> Shadow:
    """Log why there is no shadow, and return that."""
    words = "the shadow model cannot run, the node goes on without it: %s"
    logger.warning(words, error, extra={"action": "shadow"})
    return Shadow(trouble=str(error))
