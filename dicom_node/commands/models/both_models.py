"""The two models of a node, and the words and values that compare them."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from dicom_node.config.settings import Settings
from dicom_node.corrections.register import CorrectionRegister
from dicom_node.corrections.side_by_side import FEWEST, PairedDice, SideBySide, pair_of
from dicom_node.counted import counted
from dicom_node.data_folder import DataFolder
from dicom_node.errors import BadConfiguration
from dicom_node.node.startup import fleet_of
from dicom_node.shadow.promotion import served_folder
from engine.model import Model, load_model
from engine.shipped import model_folder

BIAS = (
    "The person began with the contours of the model that serves, which favours that model; results"
    " that nobody corrected are not counted."
)


@dataclass(frozen=True)
class Models:
    """The model that serves, and the shadow."""

    serving: Model
    shadow: Model
    comparison: SideBySide | None
    """None where no correction is compared with both."""

    @property
    def count(self) -> int:
        """Corrected results that both are compared with."""
        return self.comparison.count if self.comparison else 0


def both_models(settings: Settings) -> Models:
    """Return the models of a node.

    Raises:
        BadConfiguration: no shadow is configured, or the record of promoted models is damaged.
        ModelNotFound, BrokenModel: one of them is incomplete or damaged.
        StoreUnusable: the register of corrections cannot be read.
    """
    if settings.engine.shadow is None:
        raise BadConfiguration(
            "no shadow model is configured; name the candidate as engine.shadow and restart the"
            " node, which then compares it with corrections"
        )
    data = DataFolder(settings.node.data)
    serving = load_model(served_folder(settings.engine.model, data))
    shadow = load_model(model_folder(settings.engine.shadow))
    corrections = CorrectionRegister(data.corrections).all()
    return Models(serving, shadow, pair_of(corrections, serving.digest, shadow.digest))


def open_candidate(model: Model, settings: Settings) -> str:
    """Open a model as the node would, past the same gate; return the name of its device.

    Raises:
        DeviceFailed: no device can run it within its tolerances.
    """
    return fleet_of(model, settings).device().name


def named(model: Model) -> str:
    """Return a model's name for people."""
    return f"{model.name} {model.version} ({model.digest[:12]})"


def sentences(models: Models) -> Iterator[str]:
    """Yield the comparison, a sentence a line."""
    yield f"serving: {named(models.serving)}"
    yield f"shadow: {named(models.shadow)}"
    compared = counted(models.count, "corrected result")
    if models.comparison is None or not models.comparison.enough:
        yield f"{compared} of both, too few to tell; at least {FEWEST} are needed"
    else:
        yield f"{compared} of both"
    for each in models.comparison.structures if models.comparison else ():
        yield _sentence(each)
    yield BIAS


def _sentence(each: PairedDice) -> str:
    words = (
        f"{each.structure}: mean DSC {each.serving:.3f} serving, {each.shadow:.3f} shadow,"
        f" difference {each.difference:+.3f}"
    )
    if each.interval:
        words += f" (95 % bootstrap interval {each.interval[0]:+.3f} to {each.interval[1]:+.3f})"
    return (
        f"{words}; the shadow is better on {each.better}, worse on {each.worse} of {each.count}"
        f" images: {each.conclusion}"
    )


def values(models: Models) -> dict[str, Any]:
    """Return the models and their comparison as JSON has them."""
    return {
        "serving": _values(models.serving),
        "shadow": _values(models.shadow),
        "comparison": _compared(models.comparison),
        "fewest": FEWEST,
    }


def _values(model: Model) -> dict[str, str]:
    return {"name": model.name, "version": model.version, "digest": model.digest}


def _compared(comparison: SideBySide | None) -> dict[str, Any]:
    if comparison is None:
        return {"count": 0, "enough": False, "structures": []}
    structures = [asdict(each) | {"conclusion": each.conclusion} for each in comparison.structures]
    return {"count": comparison.count, "enough": comparison.enough, "structures": structures}
