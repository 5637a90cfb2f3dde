"""ONNX Runtime on the processor; for comparison only, a node never serves on it."""

import numpy as np

from engine.device import Answer
from engine.errors import DeviceFailed, LibraryMissing
from engine.hounsfield import Hounsfield, to_float16
from engine.model import Model


def open_onnxruntime(model: Model, *, threads: int | None = None) -> "OnnxRuntime":
    """Open the model in ONNX Runtime.

    Raises:
        LibraryMissing: ONNX Runtime is not installed.
    """
    return OnnxRuntime(model, threads)


class OnnxRuntime:
    """A graph on the processor, run by ONNX Runtime."""

    name = "ONNX Runtime CPU"
    batch = 8

    def __init__(self, model: Model, threads: int | None) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise LibraryMissing(
                f"ONNX Runtime cannot be imported ({error}); install onnxruntime"
            ) from error
        self.liver_hu = model.liver_hu
        options = onnxruntime.SessionOptions()
        # 0: ONNX Runtime takes one thread per core.
        options.intra_op_num_threads = threads or 0
        self._session = onnxruntime.InferenceSession(
            str(model.graph), options, providers=["CPUExecutionProvider"]
        )

    def run(self, hu: Hounsfield, spacing_mm: tuple[float, float]) -> Answer:
        """Return the ensemble's answer to (n, rows, columns) slices."""
        feed = {"hu": to_float16(hu), "spacing": np.array(spacing_mm, np.float32)}
        try:
            labels, agreement = self._session.run(["labels", "agreement"], feed)
        except (RuntimeError, ValueError) as error:
            raise DeviceFailed(f"{self.name} failed on {hu.shape} slices: {error}") from error
        return Answer(np.asarray(labels), np.asarray(agreement))
