"""The device that is always available: the processor."""

from collections.abc import Callable
from pathlib import Path

from engine.acceptance.reference import first_near
from engine.device import Device
from engine.model import Model


def open_device(model: Model, *, threads: int | None = None, cache: Path | None = None) -> Device:
    """Return the device that is always there: OpenVINO on the processor.

    It computes in half precision where the processor can and the model's reference allows.

    Raises:
        DeviceFailed: it cannot run the model, or strays from the reference in any precision.
    """
    from engine.devices.openvino_cpu import open_openvino  # 0.3 s of imports

    def opened(half: bool) -> Callable[[], Device]:
        return lambda: open_openvino(model, threads=threads, cache=cache, half=half)

    return first_near(model, [opened(half=True), opened(half=False)])
