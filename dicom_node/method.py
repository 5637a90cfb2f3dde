"""How the node segments: model, device and rules, as the configuration has them."""

import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from dicom_node.config import Settings
from dicom_node.data_folder import DataFolder
from dicom_node.phantom_series import write_truth
from dicom_node.pipeline import Method
from dicom_node.seg import Algorithm
from dicom_node.selection import Rules
from engine.devices import Device, open_device
from engine.model import Model, default_model_folder, load_model
from engine.phantom import make_phantom
from engine.reference import check_reference

OpenDevice = Callable[[Model, Settings], Device]


def open_checked(model: Model, settings: Settings) -> Device:
    """Open the device and hold it against the model's reference.

    Raises:
        DeviceFailed: it cannot run the model, or answers otherwise than it should.
    """
    cache = DataFolder(settings.node.data).cache  # there once a node has run
    device = open_device(
        model, threads=settings.engine.threads, cache=cache if cache.is_dir() else None
    )
    check_reference(model, device)
    return device


def to_method(settings: Settings, open_device: OpenDevice = open_checked) -> Method:
    """Return how series are segmented, with the device ready to work.

    Raises:
        ModelNotFound, BrokenModel: the model folder is not what it should be.
        DeviceFailed: no device answers as the model should.
    """
    model = load_model(settings.engine.model or default_model_folder())
    return Method(
        open_device(model, settings),
        Algorithm(model.name, model.version, model.digest),
        Rules(**settings.select.model_dump()),
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
