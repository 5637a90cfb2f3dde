"""GPU figures from a bare machine: `python -m tests.benchmarks.gpu_bare FOLDER [PART …]`.

torch, NumPy, pydantic, ONNX and ONNX Runtime are enough: no TensorRT, no DICOM packages, no
OpenVINO, no installed Hepar. The part `training` also needs Lightning, pydicom, highdicom and
nibabel. Each part writes FOLDER/<part>.json when it ends, so an interrupted run keeps the parts
before. Without a GPU everything runs on the processor, which checks the program itself.
"""

import argparse
import json
import os
import platform
import subprocess
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import monotonic, perf_counter
from typing import Any

import numpy as np
import torch

from engine.acceptance.gate import check_device
from engine.admin.device_benchmark import Speed, Task, draw_volume, measured_apart, read_volume
from engine.devices.torch_gpu import Torch, TorchPrecision, open_nearest, open_torch
from engine.errors import EngineError
from engine.hounsfield import to_float16
from engine.model import Model, load_model
from engine.segmentation.segment import segment
from engine.volume import Volume
from trainer.recipe.recipe import load_recipe

DEVICES = "TensorRT", "torch", "torch eager", "torch AMP"
ROOMS = 4, 8, 16, 32, 64
SPACING = 0.8, 0.8

Figures = dict[str, Any]


@dataclass(frozen=True)
class Setup:
    """The subject of the measurements."""

    model: Model
    file: Path
    """The phantom's voxels."""
    place: str
    """torch's name of the device."""
    rounds: int
    """Each figure is the median of this many."""
    rooms: tuple[int, ...]
    data: Path | None = None
    """Labelled slices to train on."""
    minutes: float = 0.0
    """Time of the training; 0: the recipe's steps."""
    changes: tuple[str, ...] = ()
    """Of the recipe."""
    run: Path = Path("run")
    """Folder of the training."""

    @property
    def volume(self) -> Volume:
        """The phantom."""
        return read_volume(self.file)


def facts(setup: Setup) -> Figures:
    """Return versions and hardware."""
    found: Figures = {
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "place": setup.place,
    }
    if setup.place == "cuda":
        found["gpu"] = torch.cuda.get_device_name()
        smi = subprocess.run(["nvidia-smi"], capture_output=True, text=True, check=False)
        found["nvidia-smi"] = smi.stdout
    return found


def gate(setup: Setup) -> Figures:
    """Check every precision against the reference, as a node does at its start."""
    found: Figures = {}
    for precision in TorchPrecision:
        begun = perf_counter()
        try:
            device = open_torch(setup.model, place=setup.place, precision=precision)
            opened = perf_counter()
            check = check_device(setup.model, device, (1, 3, device.room))
        except EngineError as error:
            found[precision] = f"not measured: {error}"
            continue
        found[precision] = {
            "open_s": opened - begun,
            "check_s": perf_counter() - opened,
            "memory_mb": device.memory_mb,
            **json.loads(check.model_dump_json()),
        }
    return found


def bench(setup: Setup) -> Figures:
    """Measure whole job and network of each device, in a process of its own."""
    found: Figures = {}
    for name in DEVICES:
        no_plans = setup.file.parent / "no plans"
        task = Task(name, setup.model.folder, no_plans, setup.file, None, setup.rounds)
        speed = measured_apart(task)
        found[name] = asdict(speed) if isinstance(speed, Speed) else f"not measured: {speed}"
        print(name, found[name], flush=True)
    return found


def stages(setup: Setup) -> Figures:
    """Measure the stages of a whole job, and the parts of a call."""
    device, volume = open_nearest(setup.model, setup.place), setup.volume
    hu = volume.hu[: min(32, len(volume.hu))]
    calls: dict[str, Callable[[], object]] = {
        f"int16 to float16 by table, {len(hu)} slices": lambda: to_float16(hu),
        f"call of {len(hu)} slices": lambda: device.run(hu, SPACING),
    }
    if setup.place == "cuda":
        slices = torch.from_numpy(hu.copy())
        pinned, there = slices.pin_memory(), slices.cuda()
        calls |= {
            "pageable to GPU": slices.cuda,
            "copy to pinned memory": slices.pin_memory,
            "pinned to GPU": lambda: pinned.cuda(non_blocking=True),
            "clip and convert on GPU": lambda: there.clamp(-1024, 2048).half(),
            "back to pinned": lambda: pinned.copy_(there, non_blocking=True),
        }
    jobs = [_job(volume, device) for _ in range(setup.rounds)]
    parts = {name: 1000 * _seconds(call, setup.rounds) for name, call in calls.items()}
    return {"parts_ms": parts, "job": sorted(jobs, key=lambda job: job["job_s"])[len(jobs) // 2]}


def sweep(setup: Setup) -> Figures:
    """Measure slices per second by precision, slices at once, and cuDNN's own search."""
    found: Figures = {}
    for tuned in (False, True) if setup.place == "cuda" else (False,):
        torch.backends.cudnn.benchmark = tuned
        for precision in TorchPrecision:
            try:
                device = open_torch(setup.model, place=setup.place, precision=precision)
            except EngineError as error:
                found[f"{precision}, cudnn.benchmark {tuned}"] = f"not measured: {error}"
                continue
            for room in setup.rooms:
                name = f"{precision}, {room} at once, cudnn.benchmark {tuned}"
                found[name] = _slices_per_s(setup, device, room)
                print(name, found[name], flush=True)
    torch.backends.cudnn.benchmark = False
    return found


def compiled(setup: Setup) -> Figures:
    """Measure the program through torch.compile, which a node does not use, and check it."""
    on_gpu = setup.place == "cuda"
    kind = TorchPrecision.FLOAT16 if on_gpu else TorchPrecision.FLOAT32
    # Without a GPU no code is generated: what a processor's compiler gains is not the question.
    backend = "inductor" if on_gpu else "eager"
    found: Figures = {}
    for room in setup.rooms if on_gpu else setup.rooms[-1:]:
        name = f"{kind}, {room} at once, {backend}"
        try:
            device = open_torch(setup.model, place=setup.place, precision=kind)
            device.room = device.usual_room = room
            device._module = torch.compile(device._module, dynamic=False, backend=backend)
            begun = perf_counter()
            check = check_device(setup.model, device, (room,))
        except EngineError as error:
            found[name] = f"not measured: {error}"
            continue
        found[name] = {
            "compile_and_check_s": perf_counter() - begun,
            "slices_per_s": _slices_per_s(setup, device, room),
            **json.loads(check.model_dump_json()),
        }
        print(name, found[name]["slices_per_s"], flush=True)
    return found


def feeding(setup: Setup) -> Figures:
    """Measure the slices a second in batches of `base` that are made on the device."""
    from tests.benchmarks.feeding import KINDS, batches_rate, toy_slices

    slices, place = toy_slices(), torch.device(setup.place)
    return {
        name: batches_rate(
            load_recipe("base", [*changes, *setup.changes]), slices, place, setup.rounds
        )
        for name, changes in KINDS.items()
    }


def training(setup: Setup) -> Figures:
    """Train `base` by the clock and leave the run's folder, which any machine can export."""
    if setup.data is None:
        return {"training": "not measured: name labelled slices by --data"}
    # Lightning and the readers, which only this part needs.
    from trainer.train_command import Run, learn, prepare
    from trainer.training.by_clock.budget import Budget
    from trainer.training.ensemble import split_cases
    from trainer.training.machine import Machine

    budget = Budget(60 * setup.minutes, monotonic()) if setup.minutes else None
    machine = Machine(setup.place, devices=1, quiet=True)
    run = Run(setup.data, setup.run, setup.run / "model", machine, budget=budget)
    ready = prepare(load_recipe("base", setup.changes), run)
    recipe, _ = learn(ready, split_cases(ready.recipe, ready.slices), run, setup.run)
    paces = {
        path.parent.name: json.loads(path.read_text()) for path in setup.run.glob("*/pace.json")
    }
    return {"steps": {each.network: each.steps for each in recipe.members}, "pace": paces}


PARTS: dict[str, Callable[[Setup], Figures]] = {
    each.__name__: each for each in (facts, gate, bench, stages, sweep, compiled, feeding, training)
}


def _slices_per_s(setup: Setup, device: Torch, room: int) -> float | str:
    device.room = device.usual_room = room
    hu = np.resize(setup.volume.hu, (max(setup.rooms), *setup.volume.hu.shape[1:]))
    try:
        return len(hu) / _seconds(lambda: device.run(hu, SPACING), setup.rounds)
    except EngineError as error:
        return f"not measured: {error}"


def _job(volume: Volume, device: Torch) -> Figures:
    begun = perf_counter()
    made = segment(volume, device)
    seconds = perf_counter() - begun
    return {"job_s": seconds, **made.seconds, "computed": made.slices_computed}


def _seconds(call: Callable[[], object], rounds: int) -> float:
    """Return the median duration, with everything that was queued on the GPU done."""
    call()
    times = []
    for _ in range(rounds):
        _wait()
        begun = perf_counter()
        call()
        _wait()
        times.append(perf_counter() - begun)
    return median(times)


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _model(folder: Path | None, scratch: Path) -> Model:
    if folder is not None:
        return load_model(folder)
    from tests.benchmarks.programs import with_program  # exports the default model: a minute

    return load_model(with_program(scratch / "base"))


def main() -> int:
    """Run the parts in order; return 1 if one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the JSON files go")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; default all")
    parser.add_argument("--model", type=Path, help="model folder with ensemble.pt2")
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--size", type=int, default=512, help="rows and columns of a slice")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rooms", type=int, nargs="+", help="numbers of slices at once")
    parser.add_argument("--data", type=Path, help="labelled slices; the part `training` needs them")
    parser.add_argument("--minutes", type=float, default=8, help="of training; 0: all its steps")
    parser.add_argument("--set", nargs="+", default=[], help="changes of the recipe")
    chosen = parser.parse_args()
    if unknown := set(chosen.parts) - set(PARTS):
        parser.error(f"unknown part {unknown.pop()!r}; allowed: {', '.join(PARTS)}")
    chosen.folder.mkdir(parents=True, exist_ok=True)
    place = "cuda" if torch.cuda.is_available() else "cpu"
    rooms = tuple(chosen.rooms or (ROOMS if place == "cuda" else (2, 4)))
    with tempfile.TemporaryDirectory(prefix="hepar-gpu-") as scratch:
        file = draw_volume(chosen.slices, chosen.size, Path(scratch))
        setup = Setup(
            _model(chosen.model, Path(scratch)),
            file,
            place,
            chosen.rounds,
            rooms,
            chosen.data,
            chosen.minutes,
            tuple(chosen.set),
            chosen.folder / "run",
        )
        return max([_run(name, setup, chosen.folder) for name in chosen.parts or PARTS])


def _run(name: str, setup: Setup, folder: Path) -> int:
    """Run one part and write its file; an error is part of the file, and ends no other part."""
    begun, failed = perf_counter(), 0
    try:
        found = PARTS[name](setup)
    except Exception:  # whatever it is, the other parts must still be measured
        found, failed = {"error": traceback.format_exc()}, 1
        print(found["error"], flush=True)
    took = perf_counter() - begun
    (folder / f"{name}.json").write_text(json.dumps({"took_s": took, "found": found}, indent=1))
    print(f"== {name}: {took:.1f} s", flush=True)
    return failed


if __name__ == "__main__":
    raise SystemExit(main())
