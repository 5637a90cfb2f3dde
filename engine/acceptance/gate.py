"""The gate: a plan may serve only if it answers the reference as the float32 graph does.

It must do so at every number of slices that it takes: in the field, half precision went wrong at
some batch sizes and not at others.
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
"""Called with the batch sizes that are done, and how many there are."""


def check_device(
    model: Model, device: Device, batches: Iterable[int], progress: Progress | None = None
) -> Check:
    """Return how a device answers the model's reference, at each of these batch sizes.

    A device that cannot run, or answers what is no number, does not pass; that is no error here.

    Raises:
        BrokenModel: the reference cannot be read.
        DeviceOutOfMemory: ask again when there is memory.
    """
    sizes = tuple(batches)
    tell = progress or (lambda done, of: None)
    figures: list[Figures] = []
    faults: list[str] = []
    for done, size in enumerate(sizes):
        tell(done, len(sizes))
        try:
            found, expected = _answer(model, device, size)
        except DeviceOutOfMemory:  # says nothing of the plan
            raise
        except DeviceFailed as error:
            faults.append(f"batch {size}: {error}")
            continue
        figures.append(compare(found, expected))
        wrong = _no_numbers(found) + faults_of(figures[-1], model.manifest.tolerances)
        faults += [f"batch {size}: {fault}" for fault in wrong]
    tell(len(sizes), len(sizes))
    return Check(
        passed=not faults,
        device=device.name,
        batches=sizes,
        differing_pixels=max((each.differing_pixels for each in figures), default=1.0),
        dice={label: min(each.dice[key] for each in figures) for key, label in _labels(figures)},
        agreement={label: _worst(figures, key) for key, label in _labels(figures)},
        faults=tuple(faults),
        when=datetime.now(UTC),
    )


def _answer(model: Model, device: Device, size: int) -> tuple[Answer, Answer]:
    """Return a device's answer to `size` slices, all slices of the reference in turn, and the
    reference's."""
    hu, spacing_mm, expected = read_reference(model)
    if neighbours := neighbours_of(device):
        slabs = cut(0, len(hu), len(hu), size, neighbours)
        return _joined(
            [(device.run(hu[slab.shown], spacing_mm), slab.kept) for slab in slabs]
        ), expected
    order = np.arange(max(size, len(hu))) % len(hu)
    parts = [order[start : start + size] for start in range(0, len(order), size)]
    found = _joined([(device.run(hu[part], spacing_mm), slice(None)) for part in parts])
    return found, Answer(expected.labels[order], expected.agreement[order])


def _joined(answers: Sequence[tuple[Answer, slice]]) -> Answer:
    """Return one answer of several, of each the slices that count."""
    return Answer(
        np.concatenate([each.labels[kept] for each, kept in answers]),
        np.concatenate([each.agreement[kept] for each, kept in answers]),
    )


def _no_numbers(answer: Answer) -> list[str]:
    faults = []
    if not np.isfinite(answer.agreement).all():
        faults.append("agreement holds NaN or infinity")
    if (answer.labels > max(Label)).any():
        faults.append(f"label {int(answer.labels.max())} is none")
    return faults


def _labels(figures: list[Figures]) -> list[tuple[Label, str]]:
    return [(label, label.name.lower()) for label in (figures[0].dice if figures else ())]


def _worst(figures: list[Figures], label: Label) -> float:
    """Return the largest difference; one that is no number counts as 1."""
    found = [each.agreement[label] for each in figures]
    return max(difference if np.isfinite(difference) else 1.0 for difference in found)
