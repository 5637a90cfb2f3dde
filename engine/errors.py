"""What can go wrong between a volume and its labels.

EngineError
├── GeometryError        two grids that should be one, are not
├── ModelNotFound        no manifest under the model folder
├── BrokenModel          the model folder is not what its manifest says
└── DeviceFailed         a device could not load or run the graph
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
