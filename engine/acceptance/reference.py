"""The model's reference: test slices and the float32 graph's answers to them."""

import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.device import Answer, Device, pooled_agreement
from engine.errors import BrokenModel, DeviceFailed
from engine.manifest import Tolerances
from engine.model import Model
from engine.volume import Label


@dataclass(frozen=True)
class Figures:
    """Deviation of a device from the reference."""

    differing_pixels: float
    """Fraction of pixels with a different label."""
    dice: dict[Label, float]
    """Dice with the reference, per class; the liver includes its tumours."""
    agreement: dict[Label, float]
    """Absolute difference of the members' pooled agreement, per class."""


def check_reference(model: Model, device: Device) -> Figures:
    """Run the model's reference on the device and return the deviation.

    Raises:
        DeviceFailed: the deviation exceeds the tolerances in the model's manifest.
        BrokenModel: the reference cannot be read.
    """
    hu, spacing_mm, expected = read_reference(model)
    figures = compare(device.run(hu, spacing_mm), expected)
    faults = faults_of(figures, model.manifest.tolerances)
    if faults:
        raise DeviceFailed(
            f"{device.name} deviates from the reference of model {model.name} {model.version}: "
            f"{'; '.join(faults)}; use another device or precision"
        )
    return figures


def first_accepted(model: Model, candidates: Iterable[Callable[[], Device]]) -> Device:
    """Return the first device that opens and stays within the reference's tolerances.

    Raises:
        DeviceFailed: none does; the message lists the reason for each.
        BrokenModel: the reference cannot be read.
    """
    reasons = []
    for opened in candidates:
        try:
            device = opened()
            check_reference(model, device)
        except DeviceFailed as error:
            reasons.append(str(error))
        else:
            return device
    raise DeviceFailed("; ".join(reasons))


def read_reference(model: Model) -> tuple[NDArray[np.float16], tuple[float, float], Answer]:
    """Return test slices, their (row, column) spacing in mm, and the float32 graph's answer.

    Raises:
        BrokenModel: the reference cannot be read.
    """
    try:
        # Stated although it is the default: a model folder comes from elsewhere and must run no
        # code.
        with np.load(model.reference, allow_pickle=False) as kept:
            rows_mm, columns_mm = kept["spacing"].tolist()
            answer = Answer(kept["labels"], kept["agreement"])
            return kept["hu"].astype(np.float16), (rows_mm, columns_mm), answer
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise BrokenModel(f"{model.reference}: {error}; export the model again") from error


def compare(found: Answer, expected: Answer) -> Figures:
    """Return the deviation of an answer from the expected one."""
    differing = np.count_nonzero(found.labels != expected.labels) / expected.labels.size
    ours, theirs = pooled_agreement(found.agreement), pooled_agreement(expected.agreement)
    return Figures(
        differing,
        {label: _dice(found.labels >= label, expected.labels >= label) for label in ours},
        {label: abs(ours[label] - theirs[label]) for label in ours},
    )


def _dice(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    both = np.count_nonzero(one) + np.count_nonzero(other)
    # Marked in neither: agreement, not a division by zero.
    return 2 * np.count_nonzero(one & other) / both if both else 1.0


def faults_of(figures: Figures, allowed: Tolerances) -> list[str]:
    """Return a sentence for every figure beyond its tolerance; NaN is beyond every tolerance."""
    faults = []
    if figures.differing_pixels > allowed.differing_pixels:
        faults.append(
            f"{figures.differing_pixels:.4%} of pixels differ (> {allowed.differing_pixels:.4%})"
        )
    for label, dice in figures.dice.items():
        if dice < allowed.dice:
            faults.append(f"{label.name.lower()} Dice {dice:.4f} (< {allowed.dice})")
    for label, difference in figures.agreement.items():
        # Not `>`, which NaN would pass.
        if not difference <= allowed.agreement:
            faults.append(
                f"{label.name.lower()} agreement off by {difference:.4f} (> {allowed.agreement})"
            )
    return faults
