"""What surrounds the network, before the work on it and now, stage by stage.

`python -m tests.benchmarks.bench stages`. Both sides segment the same volumes in turn, each in a
process of its own on one thread, by a device that answers at once. Times are the processor's, the
least of all rounds: other programs can only add to them.
"""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.phantom import make_phantom
from engine.volume import Label
from tests.benchmarks.earlier import ROOT, check_out, measured_by
from tests.benchmarks.marks import Mark, at_most

BEFORE = "ef7911cd8a0a"
"""The last commit before packed labels, runs, and conversion on the device."""
ROUNDS = 5
WHOLE = "whole job without the network"
MOST_MS = {"phantom": 100, "tall": 250}
SIDES = {"before": "host", "now": "device", "now, converted on the host": "host"}
"""What is measured, and where slices are clipped and converted."""


def measure(folder: Path) -> Iterator[Mark]:
    """Yield the marks of both volumes, with the time before and that of each stage."""
    old = folder / "before"
    if why := check_out(BEFORE, ["engine"], old):
        yield from (Mark(_title(name), "", f"not measured: {why}", None) for name in MOST_MS)
        return
    for name, (hu, labels) in _volumes().items():
        np.savez(folder / f"{name}.npz", hu=hu, labels=labels)
    found = _rounds(folder, old)
    for name, most in MOST_MS.items():
        figures = {side: found[side][name] for side in SIDES}
        for stage in figures["now"]:
            row = ", ".join(f"{side} {each[stage]:.0f}" for side, each in figures.items())
            if stage != WHOLE:
                yield Mark(f"{name}: {stage}", "", f"{row} ms", True)
        detail = f"({row})"
        yield at_most(_title(name), most, figures["now"][WHOLE], "ms", detail)


def _title(name: str) -> str:
    return f"{name}: {WHOLE}"


def _rounds(folder: Path, old: Path) -> dict[str, dict[str, dict[str, float]]]:
    """Return the least time of each side, volume and stage, in milliseconds."""
    least: dict[str, dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    digests: dict[str, set[str]] = defaultdict(set)
    files = [str(folder / f"{name}.npz") for name in MOST_MS]
    for _ in range(ROUNDS):
        for side, where in SIDES.items():
            source = old if side == "before" else ROOT
            for name, answer in measured_by("stages_child.py", source, where, *files).items():
                digests[name].add(answer.pop("labels"))
                kept = least[side][name]
                kept.update({stage: min(ms, kept.get(stage, ms)) for stage, ms in answer.items()})
    if unlike := [name for name, seen in digests.items() if len(seen) > 1]:
        raise AssertionError(f"labels before and now differ: {', '.join(unlike)}")
    return least


def _volumes() -> dict[str, tuple[NDArray[np.int16], NDArray[np.uint8]]]:
    """Return slices and labels: a whole abdomen, and one of which the liver takes most."""
    drawn = make_phantom(shape=(75, 512, 512), spacing_mm=(5.6, 0.78, 0.78))
    liver = np.flatnonzero(drawn.truth.labels.any(axis=(1, 2)))
    near = slice(max(liver[0] - 2, 0), liver[-1] + 3)
    hu, labels = drawn.volume.hu, _spotted(drawn.truth.labels)
    tall = np.linspace(near.start, near.stop - 1, 312).round().astype(int)
    return {
        "phantom": (np.repeat(hu, 4, axis=0), np.repeat(labels, 4, axis=0)),
        "tall": (hu[tall], labels[tall]),
    }


def _spotted(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the labels with specks and holes, as networks leave them."""
    random, spotted = np.random.default_rng(0), labels.copy()
    for plane in spotted[labels.any(axis=(1, 2))]:
        for row, column in random.integers(0, 500, (40, 2)):
            spot = plane[row : row + 4, column : column + 5]
            spot[:] = Label.BACKGROUND if spot.any() else random.integers(1, 3)
    return spotted
