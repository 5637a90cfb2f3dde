"""From a model's graph to a TensorRT engine, written once for TensorRT 10, 11 and RTX.

Networks are strongly typed, as TensorRT 11 wants it: precision is in the network, not in a flag.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.devices.tensorrt.cuda import CudaFailed, checked, cuda_runtime, gpus
from engine.devices.tensorrt.float16 import to_half
from engine.devices.tensorrt.library import Library, keeper
from engine.durable_files import write_durably
from engine.errors import BuildFailed
from engine.plans.key import Flavour, Options, PlanKey, Precision

Progress = Callable[[str, int, int], None]
"""Called with what TensorRT is at, its steps done, and how many there are."""

AHEAD = "SM75", "SM80", "SM86", "SM89", "SM120", "SM121"
"""Architectures that TensorRT for RTX 1.x builds for without having one."""

SMALLEST = 32
"""Rows and columns of the smallest slice that a plan takes."""

INPUTS, OUTPUTS = {"hu", "spacing"}, {"labels", "agreement"}
"""What the graph contract calls them."""


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
        library: that does the work.
        graph: the model's ONNX file.
        key: what the engine is for.
        progress: told how far it is.
        timing: file of what earlier builds measured, which the next one need not measure again;
            written anew. One of another GPU or TensorRT, or a broken one, counts as none.

    Raises:
        BuildFailed: TensorRT cannot; the message holds what it said.
        LibraryMissing: it takes a GPU, and there is none.
    """
    if key.flavour is Flavour.TENSORRT:
        _use_gpu_of(key.architecture)
    work = _Work(library, _listener(library, progress))
    network = work.parsed(graph)
    kept = to_half(work.trt, network) if key.precision is Precision.FLOAT16 else []
    config = work.configured(key)
    measured = work.remembering(config, timing)
    content = work.builder.build_serialized_network(network, config)
    del kept  # weights that the network pointed to
    if content is None:
        raise BuildFailed(f"{library.name} built nothing of {graph}: {work.said()}")
    if timing is not None and measured is not None:
        write_durably(timing, bytes(measured.serialize()))
    return bytes(content)


@dataclass
class _Work:
    """One build, with all that must outlive it."""

    library: Library
    monitor: Any

    def __post_init__(self) -> None:
        self.trt = self.library.module
        self.logger = keeper(self.trt)
        try:
            self.builder = self.trt.Builder(self.logger)
        except TypeError as error:  # how the bindings say that there is none
            raise BuildFailed(f"{self.library.name} does not start: {self.said()}") from error

    def said(self) -> str:
        return "; ".join(list(self.logger.complaints)[-3:]) or "it did not say why"

    def parsed(self, graph: Path) -> Any:
        """Return the graph as a strongly typed network."""
        flag = getattr(self.trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
        network = self.builder.create_network(0 if flag is None else 1 << int(flag))
        self.parser = self.trt.OnnxParser(network, self.logger)
        try:
            content = graph.read_bytes()
        except OSError as error:
            raise BuildFailed(f"cannot read {graph}: {error.strerror}") from error
        if not self.parser.parse(content):
            raise BuildFailed(
                f"{self.library.name} does not understand {graph}: {self._faults()}: export the "
                "model again, or serve it on another device"
            )
        _require_contract(network, graph)
        return network

    def _faults(self) -> str:
        faults = [self.parser.get_error(i) for i in range(self.parser.num_errors)]
        return "; ".join(f"{each.node_name()}: {each.desc()}" for each in faults) or self.said()

    def configured(self, key: PlanKey) -> Any:
        config = self.builder.create_builder_config()
        config.builder_optimization_level = key.options.level
        config.progress_monitor = self.monitor
        # Else what is float32 is multiplied with ten bits: near-ties of the resampling tip over.
        config.clear_flag(self.trt.BuilderFlag.TF32)
        config.add_optimization_profile(self._profile(key.options))
        if key.flavour is Flavour.RTX:
            _aim(self.trt, config, key.architecture)
        return config

    def remembering(self, config: Any, timing: Path | None) -> Any:
        """Let a build know what earlier ones measured; return what it will have measured.

        TensorRT for RTX measures nothing when it builds, and refuses what others have measured.
        """
        if self.library.flavour is Flavour.RTX:
            return None
        kept = timing.read_bytes() if timing is not None and timing.exists() else b""
        for content in (kept, b""):
            cache = config.create_timing_cache(content)
            if cache is not None and config.set_timing_cache(cache, False):
                return cache
        return None  # TensorRT then measures all, as it would without

    def _profile(self, options: Options) -> Any:
        profile = self.builder.create_optimization_profile()
        usual = (options.batch, options.usual, options.usual)
        most = (options.batch, options.largest, options.largest)
        profile.set_shape("hu", (1, SMALLEST, SMALLEST), usual, most)
        return profile


def _use_gpu_of(architecture: str) -> None:
    """Let this thread build on the GPU here that is of the architecture.

    Only TensorRT for RTX builds for others: TensorRT itself would build for the GPU that is here,
    whatever the plan is then called.
    """
    here = gpus()
    fit = [gpu for gpu in here if gpu.architecture == architecture]
    if not fit:
        named = ", ".join(sorted({gpu.architecture for gpu in here}))
        raise BuildFailed(
            f"TensorRT builds plans for the GPUs that are here only ({named}), not for "
            f"{architecture}: build on a machine that has one, or with --flavour tensorrt_rtx"
        )
    runtime = cuda_runtime()
    try:
        checked(runtime, runtime.cudaSetDevice(fit[0].index))
    except CudaFailed as error:
        raise BuildFailed(f"cannot build on {fit[0].name}: {error}: end what uses it") from error


def _aim(trt: Any, config: Any, architecture: str) -> None:
    """Build for an architecture, present or not."""
    capability = getattr(trt.ComputeCapability, architecture.upper(), None)
    if capability is None:
        known = ", ".join(name.lower() for name in AHEAD if hasattr(trt.ComputeCapability, name))
        raise BuildFailed(
            f"TensorRT for RTX builds no plan for {architecture}, only for {known}: take NVIDIA's "
            "`tensorrt` on the machine that has the GPU"
        )
    config.num_compute_capabilities = 1
    config.set_compute_capability(capability, 0)


def _require_contract(network: Any, graph: Path) -> None:
    inputs = {network.get_input(i).name for i in range(network.num_inputs)}
    outputs = {network.get_output(i).name for i in range(network.num_outputs)}
    if (inputs, outputs) != (INPUTS, OUTPUTS):
        raise BuildFailed(
            f"{graph} has inputs {sorted(inputs)} and outputs {sorted(outputs)}, the contract says "
            f"{sorted(INPUTS)} and {sorted(OUTPUTS)}: export the model again"
        )


def _listener(library: Library, progress: Progress | None) -> Any:
    """Return TensorRT's monitor, which tells `progress` of the phases that have steps."""
    trt: Any = library.module
    tell = progress or (lambda phase, done, of: None)

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            self.steps[phase] = steps
            tell(phase, 0, steps)

        def step_complete(self, phase: str, step: int) -> bool:
            tell(phase, step + 1, self.steps.get(phase, step + 1))
            return True

        def phase_finish(self, phase: str) -> None:
            tell(phase, self.steps.get(phase, 0), self.steps.pop(phase, 0))

    return Monitor()
