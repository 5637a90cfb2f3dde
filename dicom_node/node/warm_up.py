"""Segmentation as configured, and highdicom made ready for it."""

import tempfile
import threading
from pathlib import Path

from dicom_node.config.settings import Settings
from dicom_node.pipeline.segmenter import Segmenter
from dicom_node.results.phantom import write_truth
from engine.model import Model
from engine.phantom import make_phantom
from engine.serving.fleet import Fleet


def to_segmenter(settings: Settings, model: Model, fleet: Fleet) -> Segmenter:
    """Return the segmenter that uses the first device of `fleet`, in order, that can serve."""
    return Segmenter(model, settings.select, fleet)


def warm_up_highdicom() -> threading.Thread:
    """Write a small SEG in a thread, so that the first job need not load highdicom's tables.

    Loading them takes half a second.
    """

    def write() -> None:
        phantom = make_phantom(shape=(3, 32, 32), spacing_mm=(5, 10, 10), tumours=0)
        with tempfile.TemporaryDirectory(prefix="hepar-") as folder:
            write_truth(phantom, "warm-up", Path(folder))

    thread = threading.Thread(target=write, name="warm-up", daemon=True)
    thread.start()
    return thread
