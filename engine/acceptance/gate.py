"""The gate: a device may serve only if it answers the reference as the float32 graph does.

Plans are checked at every batch size that they accept: half precision is known to fail at some
batch sizes and not at others.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

import numpy as np

from engine.acceptance.reference import Figures, compare, faults_of, read_reference
from engine.device import Answer, Device, neighbours_of
from engine.errors import DeviceFailed, DeviceOutOfMemory
from engine.model import Model
from engine.plans.plan import Check
from engine.slabs import cut
from engine.volume import Label

Progress = Callable[[int, int], None]
"""Called with the number of batch sizes checked so far, and their total."""


def check_device(
    model: Model, device: Device, batches: Iterable[int], progress: Progress | None = None
) -> Check:
    """Check a device against the model's reference at each of these batch sizes.

    A device that fails to run, or answers NaN, does not pass; no error is raised for it.

    Raises:
        BrokenModel: the reference cannot be read.
        DeviceOutOfMemory: no verdict; check again when memory is free.
    """
    sizes = tuple(batches)
    report = progress or (lambda done, of: None)
    figures: list[Figures] = []
    faults: list[str] = []
    for done, size in enumerate(sizes):
        report(done, len(sizes))
        try:
            found, expected = _answer(model, device, size)
        except DeviceOutOfMemory:  # other users of the GPU took the memory; no fault of the plan
            raise
        except DeviceFailed as error:
            faults.append(f"batch {size}: {error}")
            continue
        figures.append(compare(found, expected))
        wrong = _invalid_values(found) + faults_of(figures[-1], model.manifest.tolerances)
        faults += [f"batch {size}: {fault}" for fault in wrong]
    report(len(sizes), len(sizes))
    return Check(
        passed=not faults,
        device=device.name,
        batches=sizes,
        # Without figures every batch size failed: recorded as the worst, not as a perfect 0.
        differing_pixels=max((each.differing_pixels for each in figures), default=1.0),
        dice={label: min(each.dice[key] for each in figures) for key, label in _labels(figures)},
        agreement={label: _worst(figures, key) for key, label in _labels(figures)},
        faults=tuple(faults),
        when=datetime.now(UTC),
    )


def _answer(model: Model, device: Device, size: int) -> tuple[Answer, Answer]:
    """Return the device's answer to the whole reference, `size` slices per call, and the expected
    answer.

    A reference of fewer than `size` slices is repeated to fill a call.
    """
    hu, spacing_mm, expected = read_reference(model)
    if neighbours := neighbours_of(device):
        slabs = cut(0, len(hu), len(hu), size, neighbours)
        return _joined(
            [(device.run(hu[slab.shown], spacing_mm), slab.kept) for slab in slabs]
        ), expected
    # A reference shorter than a call starts again, or the largest batch sizes were never run.
    order = np.arange(max(size, len(hu))) % len(hu)
    parts = [order[start : start + size] for start in range(0, len(order), size)]
    found = _joined([(device.run(hu[part], spacing_mm), slice(None)) for part in parts])
    return found, Answer(expected.labels[order], expected.agreement[order])


def _joined(answers: Sequence[tuple[Answer, slice]]) -> Answer:
    """Concatenate several answers, keeping the slices that count of each."""
    return Answer(
        np.concatenate([each.labels[kept] for each, kept in answers]),
        np.concatenate([each.agreement[kept] for each, kept in answers]),
    )


def _invalid_values(answer: Answer) -> list[str]:
    faults = []
    if not np.isfinite(answer.agreement).all():
        faults.append("agreement holds NaN or infinity")
    if (answer.labels > max(Label)).any():
        faults.append(f"label {int(answer.labels.max())} is not a class of the model")
    return faults


def _labels(figures: list[Figures]) -> list[tuple[Label, str]]:
    return [(label, label.name.lower()) for label in (figures[0].dice if figures else ())]


def _worst(figures: list[Figures], label: Label) -> float:
    """Return the largest difference of agreement; NaN counts as 1."""
    found = [each.agreement[label] for each in figures]
    # max() of a list with NaN depends on the order of the list: every comparison with NaN is false.
    return max(difference if np.isfinite(difference) else 1.0 for difference in found)
