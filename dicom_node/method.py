"""How the node segments: model, device and rules, as the configuration has them."""

import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from dicom_node.config import Settings
from dicom_node.data_folder import DataFolder
from dicom_node.methods import Methods
from dicom_node.phantom_series import write_truth
from dicom_node.selection import Rules
from engine.devices import Device
from engine.fleet import Fleet, Opener, openers
from engine.model import Model, default_model_folder, load_model
from engine.phantom import make_phantom

OpenDevice = Callable[[Model, Settings], Device]


def to_methods(settings: Settings, open_device: OpenDevice | None = None) -> Methods:
    """Return how series are segmented: on the first device, in order, that can.

    Args:
        settings: of the node.
        open_device: opens what computes, in place of the devices that Hepar knows.

    Raises:
        ModelNotFound, BrokenModel: the model folder is not what it should be.
    """
    model = load_model(settings.engine.model or default_model_folder())
    devices = _devices(model, settings)
    if open_device is not None:
        devices = [Opener("device", lambda: open_device(model, settings))]
    return Methods(model, Rules(**settings.select.model_dump()), Fleet(devices))


def _devices(model: Model, settings: Settings) -> list[Opener]:
    data = DataFolder(settings.node.data)
    return openers(
        model,
        settings.engine.plans or data.plans,
        threads=settings.engine.threads,
        cache=data.cache if data.cache.is_dir() else None,  # there once a node has run
    )


def rehearse() -> threading.Thread:
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
