"""The device of last resort: OpenVINO on the processor."""

from collections.abc import Callable
from pathlib import Path

from engine.acceptance.reference import first_accepted
from engine.device import Device
from engine.errors import LibraryMissing
from engine.model import Model


def open_device(model: Model, *, threads: int | None = None, cache: Path | None = None) -> Device:
    """Open OpenVINO on the processor, which every machine can do.

    The members run in bfloat16 where the processor supports it and the result passes the model's
    reference, otherwise in float32.

    Raises:
        LibraryMissing: OpenVINO is not installed.
        DeviceFailed: it cannot run the model, or exceeds the tolerances in every precision.
    """
    try:
        from engine.devices.openvino_cpu import open_openvino  # importing OpenVINO takes 0.3 s
    except ImportError as error:
        raise LibraryMissing(
            f"OpenVINO cannot be imported ({error}); install `openvino`, or serve on a GPU"
        ) from error

    def opened(half: bool) -> Callable[[], Device]:
        return lambda: open_openvino(model, threads=threads, cache=cache, half=half)

    return first_accepted(model, [opened(half=True), opened(half=False)])
