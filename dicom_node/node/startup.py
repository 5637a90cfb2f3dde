"""Start of a node: claim its data folder, load its model, open a device.

This module imports nothing of DICOM: the device opens in a thread, mostly outside the interpreter's
lock, and meanwhile the caller imports pydicom and the rest.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from dicom_node.config.settings import Settings
from dicom_node.data_folder import DataFolder
from dicom_node.errors import BadConfiguration
from dicom_node.shadow.promotion import served_folder
from engine.device import Device
from engine.model import Model, load_model
from engine.serving.fleet import Fleet, Opener, openers
from engine.shipped import model_folder

OpenDevice = Callable[[Model, Settings], Device]
"""Opens the device to use in place of Hepar's own."""


@dataclass(frozen=True)
class StartingNode:
    """A node whose device is opening."""

    begun: float
    """Time of the start by `perf_counter`."""
    settings: Settings
    data: DataFolder
    name: str
    """Of the node, for as long as its data folder lives."""
    model: Model
    fleet: Fleet
    device: Future[Device]
    """The first device that serves, or the `EngineError` that none can."""
    open_device: OpenDevice | None = None
    """Opens the device of a model in place of Hepar's own."""


@contextmanager
def starting(settings: Settings, open_device: OpenDevice | None = None) -> Iterator[StartingNode]:
    """Claim the data folder while the block lasts, read the model, and begin to open a device.

    Raises:
        BadConfiguration: the data folder cannot be written, or the node is to be several processes.
        AlreadyRunning: the data folder is another node's.
        ModelNotFound, BrokenModel: the model folder is incomplete or damaged.
    """
    if (count := settings.receive.processes) > 1:
        raise BadConfiguration(
            f"receive.processes is {count}, and `hepar serve` is one process, which also computes;"
            " set it to 1, or run the roles of a cluster, of which `hepar receive` has it"
        )
    begun, data = perf_counter(), DataFolder(settings.node.data)
    # Claimed first: a second node on the folder must not even open a device.
    with data.claimed() as name, ThreadPoolExecutor(1, "starting") as pool:
        model, fleet = to_fleet(settings, open_device)
        device = pool.submit(fleet.device)
        yield StartingNode(begun, settings, data, name, model, fleet, device, open_device)


def to_fleet(
    settings: Settings,
    open_device: OpenDevice | None = None,
    cache: Path | None = None,
    named: Path | None = None,
) -> tuple[Model, Fleet]:
    """Return the model, and the devices that may run it; none is opened yet.

    Args:
        settings: the configuration.
        open_device: opens the device to use in place of Hepar's own.
        cache: folder of compiled graphs; the data folder's when absent.
        named: the model, whatever serves, as a person names it.

    Raises:
        BadConfiguration: the record of promoted models is damaged.
        ModelNotFound, BrokenModel: the model folder is incomplete or damaged.
    """
    data = DataFolder(settings.node.data)
    model = load_model(model_folder(named) if named else served_folder(settings.engine.model, data))
    return model, fleet_of(model, settings, open_device, cache=cache)


def fleet_of(
    model: Model,
    settings: Settings,
    open_device: OpenDevice | None = None,
    purpose: str = "serving",
    cache: Path | None = None,
) -> Fleet:
    """Return the devices that may run a model; none is opened yet."""
    if open_device is not None:
        return Fleet([Opener("device", lambda: open_device(model, settings))], purpose)
    return Fleet(_devices(model, settings, cache), purpose)


def _devices(model: Model, settings: Settings, cache: Path | None) -> list[Opener]:
    data = DataFolder(settings.node.data)
    folder = cache or data.cache
    return openers(
        model,
        settings.engine.plans or data.plans,
        threads=settings.engine.threads,
        cache=folder if folder.is_dir() else None,  # there once a node has run
    )
