"""What a node needs before it can work: its folder to itself, its model, and a device.

Nothing here knows DICOM: while the device opens, which is work outside of Python's own, there is
time to import what does.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

from dicom_node.config.settings import Settings
from dicom_node.data_folder import DataFolder
from engine.device import Device
from engine.model import Model, default_model_folder, load_model
from engine.serving.fleet import Fleet, Opener, openers

OpenDevice = Callable[[Model, Settings], Device]
"""Opens what computes, in place of the devices that Hepar knows."""


@dataclass(frozen=True)
class StartingNode:
    """A node that is about to work."""

    begun: float
    """When, by `perf_counter`."""
    settings: Settings
    data: DataFolder
    name: str
    """Of the node, for as long as its data folder lives."""
    model: Model
    fleet: Fleet
    device: Future[Device]
    """The first device that is to serve; or the `EngineError` that none can."""


@contextmanager
def starting(settings: Settings, open_device: OpenDevice | None = None) -> Iterator[StartingNode]:
    """Claim the data folder while the block lasts, read the model, and begin to open a device.

    Raises:
        BadConfiguration, AlreadyRunning: the data folder cannot be this node's.
        ModelNotFound, BrokenModel: the model folder is not what it should be.
    """
    begun, data = perf_counter(), DataFolder(settings.node.data)
    with data.claimed() as name, ThreadPoolExecutor(1, "starting") as aside:
        model, fleet = to_fleet(settings, open_device)
        yield StartingNode(begun, settings, data, name, model, fleet, aside.submit(fleet.device))


def to_fleet(settings: Settings, open_device: OpenDevice | None = None) -> tuple[Model, Fleet]:
    """Return the model, and the devices that may run it; none is opened yet.

    Raises:
        ModelNotFound, BrokenModel: the model folder is not what it should be.
    """
    model = load_model(settings.engine.model or default_model_folder())
    if open_device is not None:
        return model, Fleet([Opener("device", lambda: open_device(model, settings))])
    return model, Fleet(_devices(model, settings))


def _devices(model: Model, settings: Settings) -> list[Opener]:
    data = DataFolder(settings.node.data)
    return openers(
        model,
        settings.engine.plans or data.plans,
        threads=settings.engine.threads,
        cache=data.cache if data.cache.is_dir() else None,  # there once a node has run
    )
