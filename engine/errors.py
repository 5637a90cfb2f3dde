"""Errors of the engine.

EngineError
├── GeometryError        two voxel grids differ that must be the same
├── ModelNotFound        no manifest under the model folder
├── BrokenModel          the model folder does not match its manifest
├── TooManyLesions       more pieces of tumour than a segmentation can number
├── DeviceFailed         a device could not load or run the graph
│   └── DeviceOutOfMemory  transient: not enough memory left
├── LibraryMissing       a library that a device needs cannot be loaded
├── BuildFailed          a build produced no plan
├── BuildInProgress      transient: another process is building in the same folder
├── UnknownPlan          a name matches no plan, or more than one
├── BrokenPlan           a plan does not match its manifest
├── StalePlan            a plan was built for another GPU, TensorRT or model
└── UnverifiedPlan       a plan has not passed the gate
"""

from typing import ClassVar


class EngineError(Exception):
    """Base of every error that the engine raises deliberately."""

    transient: ClassVar[bool] = False
    """True if a later retry may succeed without intervention."""
    exit_code: ClassVar[int] = 1
    """Exit status of a command that fails with this error."""


class GeometryError(EngineError):
    """Two voxel grids differ that must be the same."""


class ModelNotFound(EngineError):
    """There is no manifest under the model folder."""


class BrokenModel(EngineError):
    """The model folder does not match its manifest."""


class TooManyLesions(EngineError):
    """There are more separate pieces of tumour than a segmentation can number."""


class DeviceFailed(EngineError):
    """A device could not load or run the graph."""


class DeviceOutOfMemory(DeviceFailed):
    """Not enough memory on the device, even for a single slice."""

    transient = True


class LibraryMissing(EngineError):
    """A library that a device needs cannot be loaded."""


class BuildFailed(EngineError):
    """A build produced no plan."""


class BuildInProgress(EngineError):
    """Another process is building in the same folder."""

    transient = True


class UnknownPlan(EngineError):
    """A name matches no plan, or more than one."""

    exit_code = 2


class BrokenPlan(EngineError):
    """A plan does not match its manifest."""


class StalePlan(EngineError):
    """A plan was built for another GPU, another TensorRT or another model."""


class UnverifiedPlan(EngineError):
    """A plan has not passed the gate."""
