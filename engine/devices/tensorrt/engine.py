"""A plan as TensorRT has loaded it."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from engine.devices.tensorrt.cuda import CudaFailed
from engine.devices.tensorrt.library import Library, keeper
from engine.durable_files import write_durably
from engine.errors import DeviceFailed


class Engine:
    """What execution contexts are made of.

    TensorRT for RTX compiles its kernels only here, once for each shape and before it answers:
    what was held against the reference is what serves. It keeps them in a file beside the plan.
    """

    def __init__(self, library: Library, content: bytes, plan: str, kernels: Path) -> None:
        """Load a plan on the GPU that is this thread's.

        Raises:
            DeviceFailed: TensorRT refuses it.
        """
        self._trt: Any = library.module
        self._kernels = kernels
        self._kept = b""
        self._logger = keeper(self._trt)
        try:
            self._loader = self._trt.Runtime(self._logger)
        except TypeError as error:  # how the bindings say that there is none
            raise DeviceFailed(f"{library.name} does not start: {self.said()}") from error
        self._engine = self._loader.deserialize_cuda_engine(content)
        if self._engine is None:
            raise DeviceFailed(f"{library.name} cannot load {plan}: {self.said()}")
        self._config = self._configured() if self.captures_itself else None

    @property
    def captures_itself(self) -> bool:
        """Whether TensorRT makes CUDA graphs of its own accord, as that for RTX does."""
        return hasattr(self._trt, "CudaGraphStrategy")

    def context(self) -> Any:
        """Return an execution context; the memory that it computes in is the caller's.

        Raises:
            CudaFailed: there is no memory for it.
        """
        lent = self._trt.ExecutionContextAllocationStrategy.USER_MANAGED
        context = self._engine.create_execution_context(self._config or lent)
        if context is None:
            raise CudaFailed(f"no execution context: {self.said()}", out_of_memory=True)
        return context

    def said(self) -> str:
        """Return TensorRT's last complaints."""
        return "; ".join(list(self._logger.complaints)[-3:]) or "TensorRT did not say why"

    def keep_kernels(self) -> None:
        """Write down what was compiled, if it is not there yet; a full disk costs only time."""
        if self._config is None:
            return
        found = self._cache.serialize()
        content = b"" if found is None else bytes(found)
        if content not in (b"", self._kept):
            with suppress(OSError):
                write_durably(self._kernels, content)
            self._kept = content

    def _configured(self) -> Any:
        trt, config = self._trt, self._engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(
            trt.ExecutionContextAllocationStrategy.USER_MANAGED
        )
        config.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        config.dynamic_shapes_kernel_specialization_strategy = (
            trt.DynamicShapesKernelSpecializationStrategy.EAGER
        )
        self._cache = config.create_runtime_cache()
        with suppress(OSError):
            content = self._kernels.read_bytes()
            if self._cache.deserialize(content):  # not what another GPU or driver compiled
                self._kept = content
        config.set_runtime_cache(self._cache)
        return config
