"""Start of a node: claim its data folder, load its model, open a device.

This module imports nothing of DICOM: the device opens in a thread, mostly outside the interpreter's
lock, and meanwhile the caller imports pydicom and the rest.
"""

import logging
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
from engine.device import Device, ReportsMemory
from engine.errors import EngineError
from engine.model import Model, load_model
from engine.serving.fleet import Fleet, Opener, openers
from engine.shipped import model_folder

logger = logging.getLogger(__name__)

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


def to_faster(
    settings: Settings,
    usual: Model,
    device: Device,
    open_device: OpenDevice | None = None,
    cache: Path | None = None,
) -> tuple[Model, Fleet] | None:
    """Return the faster model for a backlog and the devices that may run it; None without one.

    It is opened once, past its reference, and closed: until a backlog comes it takes no memory.

    Args:
        settings: the configuration.
        usual: the model that serves.
        device: on which that serves.
        open_device: opens the device of a model in place of Hepar's own.
        cache: folder of compiled graphs; the data folder's when absent.

    Raises:
        BadConfiguration: the model cannot be read, or no device can run it.
    """
    if (model := read_faster(settings, usual)) is None:
        return None
    fleet = fleet_of(model, settings, open_device, "for a backlog", cache)
    with _named_as_configured():
        faster = fleet.device()
    # Only a GPU reports memory of its own.
    if isinstance(device, ReportsMemory) and not isinstance(faster, ReportsMemory):
        words = (
            "engine.backlog_model runs on %s, which is hardly faster than the usual model on %s;"
            " build a plan for it (hepar engine build, with --model)"
        )
        logger.warning(words, faster.name, device.name, extra={"action": "backlog"})
    fleet.release()
    return model, fleet


def read_faster(settings: Settings, usual: Model) -> Model | None:
    """Return the faster model for a backlog; None without one, or where it is the usual one.

    Raises:
        BadConfiguration: it cannot be read.
    """
    if settings.engine.backlog_model is None:
        return None
    with _named_as_configured():
        model = load_model(model_folder(settings.engine.backlog_model))
    if model.digest == usual.digest:  # as after `hepar model promote`
        words = "engine.backlog_model is the model that serves; a backlog changes nothing"
        logger.info(words, extra={"action": "backlog"})
        return None
    return model


@contextmanager
def _named_as_configured() -> Iterator[None]:
    """Name the key of the configuration in an error of its model."""
    try:
        yield
    except EngineError as error:
        raise BadConfiguration(
            f"engine.backlog_model cannot be used: {error}; correct it, or remove it to have one"
            " model"
        ) from error


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
