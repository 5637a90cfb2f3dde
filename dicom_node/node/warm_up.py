"""How the node segments: model, device and rules, as the configuration has them."""

import tempfile
import threading
from pathlib import Path

from dicom_node.config.settings import Settings
from dicom_node.pipeline.segmenter import Segmenter
from dicom_node.results.phantom import write_truth
from engine.model import Model
from engine.phantom import make_phantom
from engine.serving.fleet import Fleet


def to_methods(settings: Settings, model: Model, fleet: Fleet) -> Segmenter:
    """Return how series are segmented: on the first device, in order, that can."""
    return Segmenter(model, settings.select, fleet)


def warm_up_highdicom() -> threading.Thread:
    """Write one small SEG aside, so that the first real one need not wait for highdicom's tables.

    They take half a second to load.
    """

    def write() -> None:
        phantom = make_phantom(shape=(3, 32, 32), spacing_mm=(5, 10, 10), tumours=0)
        with tempfile.TemporaryDirectory(prefix="hepar-") as folder:
            write_truth(phantom, "rehearsal", Path(folder))

    thread = threading.Thread(target=write, name="rehearsal", daemon=True)
    thread.start()
    return thread
