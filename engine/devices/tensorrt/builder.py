"""Building of a TensorRT engine from a model's graph, for TensorRT 10, 11 and RTX.

Networks are strongly typed, as TensorRT 11 requires: precision is part of the network, not a flag.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.devices.tensorrt.cuda import CudaFailed, checked, cuda_runtime, gpus
from engine.devices.tensorrt.float16 import to_half
from engine.devices.tensorrt.library import Library, collecting_logger
from engine.durable_files import write_durably
from engine.errors import BuildFailed
from engine.plans.key import Flavour, Options, PlanKey, Precision
from engine.plans.serving import READABLE

Progress = Callable[[str, int, int], None]
"""Called with TensorRT's current phase, the steps done in it, and their total."""

AHEAD = "SM75", "SM80", "SM86", "SM89", "SM120", "SM121"
"""Architectures that TensorRT for RTX 1.x builds for without such a GPU."""

WORKSPACE_BYTES = 4 << 30
"""Most scratch memory of one layer. By default TensorRT may take all of the GPU's, and a plan that
was built on an idle GPU then does not run beside another program."""

TUNED_BATCH = 16
"""Slices per call that TensorRT chooses its kernels for, if a plan takes so many: between the batch
sizes that are measured where the plan is opened (engine/devices/batch_size.py)."""

SMALLEST = 32
"""Rows and columns of the smallest slice that a plan accepts."""

INPUTS, OUTPUTS = {"hu", "spacing"}, {"labels", "agreement"}
"""Names in the graph contract."""


def build_engine(
    library: Library,
    graph: Path,
    key: PlanKey,
    progress: Progress | None = None,
    *,
    timing: Path | None = None,
) -> bytes:
    """Return a serialised engine of the graph.

    Args:
        library: TensorRT to build with.
        graph: the model's ONNX file.
        key: identity of the plan to build.
        progress: callback.
        timing: file of TensorRT's timing cache, read and then replaced. A cache of another GPU
            or TensorRT, or a damaged one, is ignored.

    Raises:
        BuildFailed: the build failed; the message includes TensorRT's own.
        LibraryMissing: the build needs a GPU, and there is none.
    """
    if key.flavour is Flavour.TENSORRT:
        _use_gpu_of(key.architecture)
    work = _Work(library, _monitor(library, progress))
    network = work.parsed(graph)
    kept = to_half(work.trt, network) if key.precision is Precision.FLOAT16 else []
    config = work.configured(key)
    measured = work.timing_cache(config, timing)
    content = work.builder.build_serialized_network(network, config)
    del kept  # the network points to these weights until here
    if content is None:
        raise BuildFailed(f"{library.name} cannot build {graph}: {work.last_errors()}")
    if timing is not None and measured is not None:
        write_durably(timing, bytes(measured.serialize()), mode=READABLE)
    return bytes(content)


@dataclass
class _Work:
    """One build, with the objects that must stay alive during it."""

    library: Library
    monitor: Any

    def __post_init__(self) -> None:
        self.trt = self.library.module
        self.logger = collecting_logger(self.trt)
        try:
            self.builder = self.trt.Builder(self.logger)
        except TypeError as error:  # the bindings' only sign of a failed initialisation
            raise BuildFailed(
                f"{self.library.name} does not start: {self.last_errors()}"
            ) from error

    def last_errors(self) -> str:
        return "; ".join(list(self.logger.messages)[-3:]) or "TensorRT gave no reason"

    def parsed(self, graph: Path) -> Any:
        """Return the graph as a strongly typed network."""
        # Looked up: a TensorRT without weak typing, as from 11 on, need not have the flag.
        flag = getattr(self.trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
        network = self.builder.create_network(0 if flag is None else 1 << int(flag))
        # An attribute, not a variable: the network refers to weights that the parser holds.
        self.parser = self.trt.OnnxParser(network, self.logger)
        try:
            content = graph.read_bytes()
        except OSError as error:
            raise BuildFailed(f"cannot read {graph}: {error.strerror}") from error
        if not self.parser.parse(content):
            raise BuildFailed(
                f"{self.library.name} cannot parse {graph}: {self._faults()}; export the "
                "model again, or serve it on another device"
            )
        _require_contract(network, graph)
        return network

    def _faults(self) -> str:
        faults = [self.parser.get_error(i) for i in range(self.parser.num_errors)]
        return (
            "; ".join(f"{each.node_name()}: {each.desc()}" for each in faults) or self.last_errors()
        )

    def configured(self, key: PlanKey) -> Any:
        config = self.builder.create_builder_config()
        config.builder_optimization_level = key.options.level
        config.progress_monitor = self.monitor
        # TF32 is on by default and multiplies float32 with 10 bits of mantissa, which flips labels
        # at near-ties of the resampling.
        config.clear_flag(self.trt.BuilderFlag.TF32)
        config.set_memory_pool_limit(self.trt.MemoryPoolType.WORKSPACE, WORKSPACE_BYTES)
        if config.add_optimization_profile(self._profile(key.options)) < 0:
            raise BuildFailed(
                f"{self.library.name} rejects slices of {SMALLEST} to {key.options.largest} rows "
                f"and columns, {key.options.batch} at once: {self.last_errors()}; build with other "
                "options"
            )
        # Only there: TensorRT itself always builds for the GPU that is current.
        if key.flavour is Flavour.RTX:
            self._target(config, key.architecture)
        return config

    def timing_cache(self, config: Any, timing: Path | None) -> Any:
        """Attach a timing cache to the build and return it, or None without one.

        TensorRT for RTX measures nothing at build time and rejects timing caches.
        """
        if self.library.flavour is Flavour.RTX:
            return None
        kept = timing.read_bytes() if timing is not None and timing.exists() else b""
        for content in (kept, b""):
            cache = config.create_timing_cache(content)
            # False: do not take the measurements of another GPU.
            if cache is not None and config.set_timing_cache(cache, False):
                return cache
        return None  # TensorRT then measures everything again

    def _target(self, config: Any, architecture: str) -> None:
        """Set the GPU architecture to build for, present or not."""
        capability = getattr(self.trt.ComputeCapability, architecture.upper(), None)
        if capability is None:
            every = self.trt.ComputeCapability
            known = ", ".join(name.lower() for name in AHEAD if hasattr(every, name))
            raise BuildFailed(
                f"TensorRT for RTX cannot build for {architecture}, only for {known}; use NVIDIA's "
                "`tensorrt` on a machine with that GPU"
            )
        config.num_compute_capabilities = 1
        if not config.set_compute_capability(capability, 0):
            raise BuildFailed(
                f"{self.library.name} refuses to build for {architecture}: {self.last_errors()}"
            )

    def _profile(self, options: Options) -> Any:
        profile = self.builder.create_optimization_profile()
        usual = (tuned_batch(options), options.usual, options.usual)
        most = (options.batch, options.largest, options.largest)
        # Only "hu": "spacing" has the fixed shape (2,).
        profile.set_shape("hu", (1, SMALLEST, SMALLEST), usual, most)
        return profile


def tuned_batch(options: Options) -> int:
    """Return the number of slices per call that a plan of these options is tuned for."""
    return min(options.batch, TUNED_BATCH)


def _use_gpu_of(architecture: str) -> None:
    """Select a GPU of the architecture for this thread.

    Only TensorRT for RTX builds for absent GPUs. TensorRT itself always builds for the current
    GPU, so a plan named for another architecture would be wrong.
    """
    here = gpus()
    fit = [gpu for gpu in here if gpu.architecture == architecture]
    if not fit:
        named = ", ".join(sorted({gpu.architecture for gpu in here}))
        raise BuildFailed(
            f"TensorRT builds plans only for the GPUs of this machine ({named}), not for "
            f"{architecture}; build on a machine that has one, or with --flavour tensorrt_rtx"
        )
    runtime = cuda_runtime()
    try:
        checked(runtime, runtime.cudaSetDevice(fit[0].index))
    except CudaFailed as error:
        raise BuildFailed(
            f"cannot build on {fit[0].name}: {error}; stop other programs that use it"
        ) from error


def _require_contract(network: Any, graph: Path) -> None:
    inputs = {network.get_input(i).name for i in range(network.num_inputs)}
    outputs = {network.get_output(i).name for i in range(network.num_outputs)}
    if (inputs, outputs) != (INPUTS, OUTPUTS):
        raise BuildFailed(
            f"{graph} has inputs {sorted(inputs)} and outputs {sorted(outputs)}, the contract "
            f"requires {sorted(INPUTS)} and {sorted(OUTPUTS)}; export the model again"
        )


def _monitor(library: Library, progress: Progress | None) -> Any:
    """Return a TensorRT progress monitor that forwards to `progress`."""
    trt: Any = library.module
    report = progress or (lambda phase, done, of: None)

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            # pybind11 wants this very call, not super(): it makes the C++ half of the object.
            trt.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            self.steps[phase] = steps
            report(phase, 0, steps)

        def step_complete(self, phase: str, step: int) -> bool:
            report(phase, step + 1, self.steps.get(phase, step + 1))
            # False would cancel the build.
            return True

        def phase_finish(self, phase: str) -> None:
            report(phase, self.steps.get(phase, 0), self.steps.pop(phase, 0))

    return Monitor()
