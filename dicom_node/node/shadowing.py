"""The shadow model of a node, if the configuration names one."""

import logging
from dataclasses import dataclass

from dicom_node.errors import NodeError
from dicom_node.jobs.worker import OnResult, ignore_result
from dicom_node.node.startup import StartingNode, fleet_of
from dicom_node.pipeline.segmenter import Segmenter
from dicom_node.shadow.runner import ShadowRunner
from dicom_node.shadow.work_register import WorkRegister
from dicom_node.web.view import ShadowStatus
from engine.errors import EngineError
from engine.model import load_model
from engine.serving.turns import DeviceQueue
from engine.shipped import model_folder

logger = logging.getLogger(__name__)

SAME = "it is the model that serves"


@dataclass(frozen=True)
class Shadow:
    """The shadow model, or why there is none that computes."""

    runner: ShadowRunner | None = None
    trouble: str = ""
    """Why the configured model cannot be read; empty where it can, or none is configured."""

    @property
    def digest(self) -> str:
        """Digest of the shadow model; empty without one."""
        return self.runner.digest if self.runner else ""

    @property
    def on_result(self) -> OnResult:
        """What a worker calls with each result."""
        return self.runner.add if self.runner else ignore_result

    def status(self) -> ShadowStatus | None:
        """Return what pages and checks show; None without a shadow model."""
        if self.runner is None:
            return ShadowStatus("", "", self.trouble) if self.trouble else None
        return ShadowStatus(self.runner.model, self.runner.device, self.runner.trouble)


def to_shadow(opened: StartingNode, queue: DeviceQueue) -> Shadow:
    """Return the shadow model of a node that starts; nothing is opened yet.

    A model that cannot be read, and a damaged register, are logged, and the node goes on.
    """
    settings, found = opened.settings, Shadow()
    try:
        if settings.engine.shadow is not None:
            model = load_model(model_folder(settings.engine.shadow))
            if model.digest == opened.model.digest:
                logger.info("no shadow model: %s", SAME, extra={"action": "shadow"})
            else:
                fleet = fleet_of(model, settings, opened.open_device, "shadow")
                segmenter = Segmenter(model, settings.select, fleet)
                found = Shadow(ShadowRunner(segmenter, opened.data, queue))
        WorkRegister(opened.data.shadow).take_up(found.digest)
    except (EngineError, NodeError, OSError) as error:
        words = "the shadow model cannot run, the node goes on without it: %s"
        logger.warning(words, error, extra={"action": "shadow"})
        return Shadow(trouble=str(error))
    return found
