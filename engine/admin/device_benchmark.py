"""Benchmark of one device on a phantom, in a process of its own."""

import multiprocessing
import re
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import numpy as np
from numpy.typing import NDArray

from engine.device import Answer, Device, ReportsMemory, liver_hu_of, neighbours_of
from engine.devices.multi_gpu import MultiGpu
from engine.errors import DeviceFailed, EngineError, LibraryMissing
from engine.hounsfield import Hounsfield
from engine.model import PROGRAM, Model, load_model
from engine.phantom import make_phantom
from engine.segmentation.segment import segment
from engine.serving.fleet import openers
from engine.volume import Geometry, Volume

DRAWN = 75
"""Slices of the phantom that are drawn; for more, each is repeated with thinner spacing."""
WARM_S = 2.0
"""Seconds of warm-up of a GPU before anything is measured."""
# Fixed, so that more slices are thinner ones and every volume holds the same anatomy.
HEIGHT_MM, WIDTH_MM = 420.0, 400.0


@dataclass(frozen=True)
class Task:
    """One measurement."""

    device: str
    model: Path
    plans: Path
    volume: Path
    """NumPy file of Hounsfield units."""
    threads: int | None
    rounds: int
    """Each figure is the median of this many."""
    cache: Path | None = None
    """Folder for compiled graphs."""


@dataclass(frozen=True)
class Speed:
    """Figures of one device."""

    device: str
    open_s: float
    """Time until ready, including the check against the reference if a node would do one."""
    slices_per_s: float
    """Of the model alone, with full batches."""
    latency_ms: float
    """Of a call with one slice."""
    job_s: float
    """From the volume to its label map."""
    job_cpu_s: float
    """Processor time of the job over all cores; hardly affected by other programs."""
    job_slices: int
    """Slices of the volume."""
    job_computed: int
    """Slices that were computed: those near the liver."""
    outside: float
    """Fraction of the job's time spent outside of the device."""
    host_mb: int
    """Peak main memory of the process, including volume and libraries."""
    device_mb: int | None
    """GPU memory in use by all processes at the end."""
    of_peak: float | None
    """The model's arithmetic per second as a fraction of that of large matrix products."""

    @property
    def job_slices_per_s(self) -> float:
        """Slices of the volume per second of the job."""
        return self.job_slices / self.job_s


def draw_volume(slices: int, size: int, folder: Path) -> Path:
    """Write a phantom's voxels to a file, the same for every device, and return it."""
    # Ceiling division, here and below.
    times = -(-slices // DRAWN)
    planes = -(-slices // times)
    drawn = make_phantom(
        shape=(planes, size, size),
        spacing_mm=(HEIGHT_MM / planes, WIDTH_MM / size, WIDTH_MM / size),
    )
    file = folder / f"{slices}.npy"
    np.save(file, np.repeat(drawn.volume.hu, times, axis=0)[:slices])
    return file


def measured_apart(task: Task) -> Speed | str:
    """Measure in a fresh process, so that peak memory and crashes are the device's own."""
    # Not forked: CUDA cannot be used in a child of a process that has initialised it.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as apart:
        try:
            return apart.submit(measure, task).result()
        except BrokenProcessPool as error:
            return f"the measuring process died: {error}"


def measure(task: Task) -> Speed | str:
    """Return the figures of a device, or why it cannot be measured."""
    model = load_model(task.model)
    try:
        begun = perf_counter()
        device = DEVICES[task.device](model, task)
        return _speed(task, model, device, perf_counter() - begun)
    except EngineError as error:
        return str(error)


def _speed(task: Task, model: Model, device: Device, open_s: float) -> Speed:
    volume = read_volume(task.volume)
    _, rows_mm, columns_mm = volume.geometry.spacing
    middle = len(volume.hu) // 2
    some = np.resize(
        volume.hu[middle : middle + device.batch], (device.batch, *volume.hu.shape[1:])
    )
    batch = some
    timed = _Timed(device)
    timed.warm(batch, (rows_mm, columns_mm))
    full = median(timed.seconds_of(batch, (rows_mm, columns_mm)) for _ in range(task.rounds))
    timed.seconds_of(batch[:1], (rows_mm, columns_mm))
    one = median(timed.seconds_of(batch[:1], (rows_mm, columns_mm)) for _ in range(task.rounds))
    jobs = [_job(volume, timed) for _ in range(task.rounds)]
    # The median job as a whole: medians of each figure apart would not belong together.
    seconds, cpu_s, outside, computed = sorted(jobs)[len(jobs) // 2]
    return Speed(
        device=device.name,
        open_s=round(open_s, 2),
        slices_per_s=round(len(batch) / full, 2),
        latency_ms=round(one * 1000, 3),
        job_s=round(seconds, 3),
        job_cpu_s=round(cpu_s, 3),
        job_slices=len(volume.hu),
        job_computed=computed,
        outside=round(outside, 3),
        host_mb=peak_mb(),
        device_mb=device.memory_mb if isinstance(device, ReportsMemory) else None,
        of_peak=_part_of_peak(model, device, batch, len(batch) / full),
    )


def _job(volume: Volume, timed: "_Timed") -> tuple[float, float, float, int]:
    """Return wall-clock and processor seconds of a job, the part outside the device, and slices."""
    timed.total = 0.0
    begun, worked = perf_counter(), process_time()
    made = segment(volume, timed)
    seconds, cpu_s = perf_counter() - begun, process_time() - worked
    return seconds, cpu_s, 1 - timed.total / seconds, made.slices_computed


def read_volume(file: Path) -> Volume:
    """Read the file of `draw_volume`."""
    hu = np.load(file)
    slices, rows, columns = hu.shape
    affine = np.diag([HEIGHT_MM / slices, WIDTH_MM / rows, WIDTH_MM / columns, 1.0])
    # Any UID does as frame of reference: nothing compares this grid with another.
    return Volume(hu, Geometry(hu.shape, affine, "1.2.3"))


def peak_mb() -> int:
    """Return the peak main memory of this process."""
    status = Path("/proc/self/status").read_text()
    # Not getrusage: its ru_maxrss starts at the parent's peak, which fork and exec hand on.
    (kilobytes,) = re.findall(r"VmHWM:\s+(\d+) kB", status)
    return int(kilobytes) >> 10


def _part_of_peak(
    model: Model, device: Device, batch: NDArray[np.float16], slices_per_s: float
) -> float | None:
    """Return the model's arithmetic as a fraction of the device's peak; None without torch."""
    if model.program is None:
        return None
    try:
        from engine.devices.torch_flops import operations, peak_of
    except ImportError:
        return None
    work, peak = operations(model, batch.shape[1:]), peak_of(device.name)
    # `peak_of` measures one GPU only.
    count = len(device.devices) if isinstance(device, MultiGpu) else 1
    return round(work * slices_per_s / (count * peak), 3) if work and peak else None


class _Timed:
    """A device that adds up its running time."""

    def __init__(self, device: Device) -> None:
        self.device, self.name, self.batch = device, device.name, device.batch
        # `segment` asks the device that it gets, which is this wrapper, for both.
        self.neighbours, self.liver_hu = neighbours_of(device), liver_hu_of(device)
        self.total = 0.0

    def run(self, hu: Hounsfield, spacing_mm: tuple[float, float]) -> Answer:
        """Run the device and add its time."""
        begun = perf_counter()
        answer = self.device.run(hu, spacing_mm)
        self.total += perf_counter() - begun
        return answer

    def warm(self, hu: Hounsfield, spacing_mm: tuple[float, float]) -> None:
        """Run until everything is compiled and a GPU has reached its clock rate."""
        # Only a GPU has memory to report. One that is idle clocks down and needs time to speed up.
        there = isinstance(self.device, ReportsMemory) and self.device.memory_mb is not None
        end = perf_counter() + (WARM_S if there else 0.0)
        self.run(hu, spacing_mm)
        while perf_counter() < end:
            self.run(hu, spacing_mm)

    def seconds_of(self, hu: Hounsfield, spacing_mm: tuple[float, float]) -> float:
        """Return the duration of one call."""
        begun = perf_counter()
        self.run(hu, spacing_mm)
        return perf_counter() - begun


def _serving(name: str) -> Callable[[Model, Task], Device]:
    """Return a function that opens a device as a node would."""

    def opened(model: Model, task: Task) -> Device:
        serving = openers(model, task.plans, threads=task.threads, cache=task.cache)
        # `open` includes the check against the reference: a node pays for it, so it counts.
        return next(each for each in serving if each.name == name).open()

    return opened


def _openvino_float32(model: Model, task: Task) -> Device:
    from engine.devices.openvino_cpu import open_openvino

    return open_openvino(model, threads=task.threads, cache=task.cache)


def _onnxruntime(model: Model, task: Task) -> Device:
    from engine.devices.onnxruntime_cpu import open_onnxruntime  # never serves

    return open_onnxruntime(model, threads=task.threads)


def _torch(*, half: bool) -> Callable[[Model, Task], Device]:
    """Return a function that opens torch without CUDA graph and without the gate."""

    def opened(model: Model, task: Task) -> Device:
        if model.program is None:
            raise DeviceFailed(f"model {model.name} {model.version} has no {PROGRAM}")
        try:
            from engine.devices.torch_gpu import open_plain
        # OSError: torch is there, one of the shared libraries that it loads is not.
        except (ImportError, OSError) as error:
            raise LibraryMissing(
                f"torch cannot be imported ({error}); install it to compare"
            ) from error
        return open_plain(model, half=half, threads=task.threads)

    return opened


DEVICES: dict[str, Callable[[Model, Task], Device]] = {
    "TensorRT": _serving("TensorRT"),
    "torch": _serving("torch"),
    "OpenVINO": _serving("OpenVINO"),
    "OpenVINO float32": _openvino_float32,
    "torch eager": _torch(half=False),
    "torch AMP": _torch(half=True),
    "ONNX Runtime": _onnxruntime,
}
"""Devices to measure if available: those that serve first, then those to compare with."""
