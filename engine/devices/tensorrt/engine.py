"""A deserialised TensorRT engine."""

import logging
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from engine.devices.tensorrt.cuda import CudaFailed
from engine.devices.tensorrt.library import Library, collecting_logger
from engine.durable_files import write_durably
from engine.errors import DeviceFailed, DeviceOutOfMemory
from engine.plans.serving import READABLE

logger = logging.getLogger(__name__)

DIGEST = sha256().digest_size


class Engine:
    """A loaded plan, which execution contexts are created from.

    TensorRT for RTX compiles its kernels here, on the GPU, once per shape and before the first
    answer: so the kernels that passed the reference are those that serve. They are cached in a
    file beside the plan.
    """

    def __init__(self, library: Library, content: bytes, plan: str, kernels: Path) -> None:
        """Load a plan on this thread's current GPU.

        Raises:
            DeviceOutOfMemory: there is no memory for it now.
            DeviceFailed: TensorRT rejects it.
        """
        self._trt: Any = library.module
        self._kernels = kernels
        self._plan_digest = sha256(content).digest()
        self._kept = b""
        # Runtime and logger stay attributes: the engine refers to both as long as it lives.
        self._logger = collecting_logger(self._trt)
        try:
            self._loader = self._trt.Runtime(self._logger)
        except TypeError as error:  # the bindings' only sign of a failed initialisation
            raise DeviceFailed(f"{library.name} does not start: {self.last_errors()}") from error
        self._engine = self._loader.deserialize_cuda_engine(content)
        if self._engine is None:
            reason = f"{library.name} cannot load {plan}: {self.last_errors()}"
            # The only sign of it, and the one reason for which another try may succeed.
            if "outofmemory" in reason.lower().replace(" ", ""):
                raise DeviceOutOfMemory(f"{reason}; stop other programs that use the GPU")
            raise DeviceFailed(reason)
        # Last: it reads the cached kernels and needs the engine.
        self._config = self._configured() if self.captures_itself else None

    @property
    def captures_itself(self) -> bool:
        """True if TensorRT captures CUDA graphs itself, as TensorRT for RTX does."""
        return hasattr(self._trt, "CudaGraphStrategy")

    def context(self) -> Any:
        """Return an execution context without device memory, which the caller must provide.

        Raises:
            CudaFailed: not enough memory.
        """
        unmanaged = self._trt.ExecutionContextAllocationStrategy.USER_MANAGED
        context = self._engine.create_execution_context(self._config or unmanaged)
        if context is None:
            raise CudaFailed(f"no execution context: {self.last_errors()}", out_of_memory=True)
        return context

    @property
    def memory_size(self) -> int:
        """Bytes of device memory that a context needs for the largest slices."""
        return int(self._engine.device_memory_size_v2)

    def last_errors(self) -> str:
        """Return TensorRT's last error messages."""
        return "; ".join(list(self._logger.messages)[-3:]) or "TensorRT gave no reason"

    def keep_kernels(self) -> None:
        """Write down what was compiled, if it is not there yet; a full disk costs only time."""
        if self._config is None:
            return
        found = self._cache.serialize()
        content = b"" if found is None else bytes(found)
        # Written only if something was compiled: else every start would rewrite the same file.
        if content not in (b"", self._kept):
            with suppress(OSError):
                write_durably(self._kernels, self._digest_of(content) + content, mode=READABLE)
            self._kept = content

    def _read_kernels(self) -> bytes:
        """Return the cached kernels; nothing if there are none, or not of this plan."""
        try:
            kept = self._kernels.read_bytes()
        except OSError:
            return b""
        # Checked before TensorRT sees it: kernels are machine code, and a cut file must not load.
        digest, content = kept[:DIGEST], kept[DIGEST:]
        if digest != self._digest_of(content):
            logger.warning(
                "%s is damaged or belongs to another plan; kernels are compiled again",
                self._kernels,
                extra={"action": "skip_kernels"},
            )
            return b""
        return content

    def _digest_of(self, kernels: bytes) -> bytes:
        """Return the digest of the plan and its kernels together."""
        return sha256(self._plan_digest + kernels).digest()

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
        content = self._read_kernels()
        if content and self._cache.deserialize(content):  # False for another GPU or driver
            self._kept = content
        config.set_runtime_cache(self._cache)
        return config
