"""`hepar engine bench`: speed of each device on a phantom, alone and in a whole job."""

import json
import os
import platform
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from engine.admin.device_benchmark import DEVICES, Speed, Task, draw_volume, measured_apart
from engine.admin.options import DEFAULT_PLANS, ModelFolder, PlansFolder
from engine.devices.tensorrt.cuda import gpus
from engine.errors import LibraryMissing
from engine.model import Model, load_model
from engine.shipped import model_folder

ONLY = f"Only this device; may be repeated. One of {', '.join(DEVICES)}."


def bench(
    slices: Annotated[int, typer.Option(min=2, help="Slices of the volume.")] = 75,
    size: Annotated[int, typer.Option(min=32, help="Rows and columns of a slice.")] = 512,
    threads: Annotated[int | None, typer.Option(min=1, help="Processor threads.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; the median counts.")] = 3,
    device: Annotated[
        list[str] | None,
        typer.Option(help=ONLY),
    ] = None,
    file: Annotated[Path | None, typer.Option("--json", help="File for the figures.")] = None,
    model: ModelFolder = None,
    plans: PlansFolder = DEFAULT_PLANS,
) -> None:
    """Measure every available device on a phantom, each in a process of its own.

    OpenVINO float32 serves where bfloat16 is missing or fails the gate; torch eager, torch AMP and
    ONNX Runtime never serve and are for comparison only. torch needs a model folder with
    `ensemble.pt2`.
    """
    if unknown := set(device or ()) - set(DEVICES):
        raise typer.BadParameter(f"unknown device {unknown.pop()!r}; allowed: {', '.join(DEVICES)}")
    loaded = load_model(model_folder(model))
    table = _table(slices, size, loaded)
    measured: dict[str, Speed | str] = {}
    with (
        Console(stderr=True).status("drawing the phantom …") as status,
        tempfile.TemporaryDirectory(prefix="hepar-bench-") as folder,
    ):
        volume = draw_volume(slices, size, Path(folder))
        # One after the other: devices that run at the same time would share cores and GPU.
        for name in device or DEVICES:
            status.update(f"measuring {name} …")
            measured[name] = measured_apart(
                Task(name, loaded.folder, plans, volume, threads, rounds)
            )
            _add(table, name, measured[name])
    Console().print(table)
    if file is not None:
        file.write_text(json.dumps(_report(loaded, size, measured), indent=2) + "\n")


def _report(model: Model, size: int, measured: dict[str, Speed | str]) -> dict[str, Any]:
    return {
        "model": f"{model.name} {model.version}",
        "size": size,
        "machine": machine(),
        "devices": {n: asdict(s) if isinstance(s, Speed) else s for n, s in measured.items()},
    }


def machine() -> dict[str, Any]:
    """Return the hardware that the figures were measured on."""
    try:
        seen = [gpu.name for gpu in gpus()]
    except LibraryMissing:
        seen = []
    return {"processor": _processor(), "cores": os.cpu_count(), "gpus": seen}


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _table(slices: int, size: int, model: Model) -> Table:
    return Table(
        "Device",
        "Open\ns",
        "Model\nslices/s",
        "One slice\nms",
        "Whole job\ns",
        "of it\nCPU s",
        "Whole job\nslices/s",
        "Outside\nthe device",
        "Host\nMB",
        "Device\nMB",
        "Of its\npeak",
        title=f"{model.name} {model.version}, {slices} slices of {size}x{size}",
    )


def _add(table: Table, name: str, speed: Speed | str) -> None:
    if isinstance(speed, str):
        table.add_row(f"{name}\n[dim]not measured: {escape(speed)}[/dim]")
        return
    table.add_row(
        f"{name}\n[dim]{escape(speed.device)}[/dim]" if speed.device != name else name,
        f"{speed.open_s:.1f}",
        f"{speed.slices_per_s:.1f}",
        f"{speed.latency_ms:.1f}",
        f"{speed.job_s:.1f}",
        f"{speed.job_cpu_s:.1f}",
        f"{speed.job_slices_per_s:.1f}",
        f"{speed.outside:.0%}",
        str(speed.host_mb),
        "" if speed.device_mb is None else str(speed.device_mb),
        "" if speed.of_peak is None else f"{speed.of_peak:.0%}",
    )
