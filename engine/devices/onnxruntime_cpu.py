"""The processor as a device, by way of ONNX Runtime; it serves nobody, it is there to compare."""

import numpy as np
from numpy.typing import NDArray

from engine.device import Answer
from engine.errors import DeviceFailed, LibraryMissing
from engine.model import Model


def open_onnxruntime(model: Model, *, threads: int | None = None) -> "OnnxRuntime":
    """Return the model on the processor.

    Raises:
        LibraryMissing: ONNX Runtime is not installed.
    """
    return OnnxRuntime(model, threads)


class OnnxRuntime:
    """A graph on the processor."""

    name = "ONNX Runtime CPU"
    batch = 8

    def __init__(self, model: Model, threads: int | None) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise LibraryMissing(f"no ONNX Runtime here: {error}") from error
        self.liver_hu = model.liver_hu
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        self._session = onnxruntime.InferenceSession(
            str(model.graph), options, providers=["CPUExecutionProvider"]
        )

    def run(self, hu: NDArray[np.float16], spacing_mm: tuple[float, float]) -> Answer:
        """Return the ensemble's answer to (n, rows, columns) slices."""
        feed = {"hu": hu, "spacing": np.array(spacing_mm, np.float32)}
        try:
            labels, agreement = self._session.run(["labels", "agreement"], feed)
        except (RuntimeError, ValueError) as error:
            raise DeviceFailed(f"{self.name} cannot run {hu.shape} slices: {error}") from error
        return Answer(np.asarray(labels), np.asarray(agreement))
