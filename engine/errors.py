"""What can go wrong between a volume and its labels.

EngineError
├── GeometryError        two grids that should be one, are not
├── ModelNotFound        no manifest under the model folder
├── BrokenModel          the model folder is not what its manifest says
├── DeviceFailed         a device could not load or run the graph
│   └── DeviceOutOfMemory  transient: something else has the memory that it takes
├── LibraryMissing       a library that a device needs cannot be loaded here
├── BuildFailed          no plan came of a build
├── BuildInProgress      transient: another process builds in the same folder
├── UnknownPlan          no plan, or more than one, is called so
├── BrokenPlan           a plan's bytes are not what its manifest says
├── StalePlan            a plan was built for another GPU, TensorRT or model
└── UnverifiedPlan       a plan that did not pass the gate was to serve
"""

from typing import ClassVar


class EngineError(Exception):
    """Base of every error that the engine raises on purpose."""

    transient: ClassVar[bool] = False
    """Whether the same call may succeed later without anyone's help."""
    exit_code: ClassVar[int] = 1
    """What a command ends with when this error stops it."""


class GeometryError(EngineError):
    """Two grids that should be one, are not."""


class ModelNotFound(EngineError):
    """There is no manifest under the model folder."""


class BrokenModel(EngineError):
    """The model folder is not what its manifest says."""


class DeviceFailed(EngineError):
    """A device could not load or run the graph."""


class DeviceOutOfMemory(DeviceFailed):
    """There is no memory for what a device had to do, not even for one slice."""

    transient = True


class LibraryMissing(EngineError):
    """A library that a device needs cannot be loaded here."""


class BuildFailed(EngineError):
    """No plan came of a build."""


class BuildInProgress(EngineError):
    """Another process builds in the same folder."""

    transient = True


class UnknownPlan(EngineError):
    """No plan, or more than one, is called so."""

    exit_code = 2


class BrokenPlan(EngineError):
    """A plan's bytes are not what its manifest says."""


class StalePlan(EngineError):
    """A plan was built for another GPU, another TensorRT or another model."""


class UnverifiedPlan(EngineError):
    """A plan that did not pass the gate was to serve."""
