"""`dataset.toml`: what the owner of a folder states of the data in it."""

import re
import tomllib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from trainer.datasets.cases.target import Target
from trainer.errors import BadCase, BadData

DATASET = "dataset.toml"
"""Lies in the folder that it is about."""

Values = tuple[int, ...]


class Labels(BaseModel):
    """Values that stand for the liver and for tumours; every other value is background."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    liver: Values = ()
    """The liver beside its tumours; empty: it was not drawn."""
    tumour: Values = ()
    """Empty: tumours were not drawn, and may lie anywhere in the liver."""

    @field_validator("liver", "tumour", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        return (value,) if isinstance(value, int) else value

    def to_target(self, array: NDArray[np.generic], name: str) -> NDArray[np.uint8]:
        """Return targets of an array of labels.

        Raises:
            BadCase: it has none of the values that are stated.
        """
        liver, tumour = np.isin(array, self.liver), np.isin(array, self.tumour)
        if not liver.any() and not tumour.any():
            has = np.unique(array)[:8].tolist()
            raise BadCase(
                f"{name}: labels are {has}, none of which {DATASET} names "
                f"(liver {list(self.liver)}, tumour {list(self.tumour)})"
            )
        inside = Target.LIVER if self.tumour else Target.LIVER_OR_TUMOUR
        outside = Target.BACKGROUND if self.liver else Target.NO_TUMOUR
        target = np.where(liver, np.uint8(inside), np.uint8(outside))
        target[tumour] = Target.TUMOUR
        return target


class DatasetFile(BaseModel):
    """Keys of `dataset.toml`; one that is not here is refused by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = ""
    """Of the source; that of its folder if left out."""
    weight: float = Field(default=1.0, gt=0)
    """How often its patients are drawn, beside patients of sources of weight 1."""
    images: str = ""
    """Folder of the volumes in NIfTI; found by its name if left out."""
    masks: str = ""
    """Folder of their labels; likewise."""
    patient: str = ""
    """Regular expression whose first group is the patient's name in a file's; the whole of it if
    left out."""
    unlabelled: str = ""
    """Folder of volumes in NIfTI, or of folders of DICOM series, that nothing was drawn on."""
    labels: Labels | None = None
    """Values of labels in NIfTI; without them no pairs are looked for."""

    @field_validator("labels")
    @classmethod
    def _something_is_drawn(cls, labels: Labels | None) -> Labels | None:
        if labels and not labels.liver and not labels.tumour:
            raise ValueError("state liver, tumour or both, such as liver = 1")
        return labels

    def patient_of(self, stem: str) -> str:
        """Return the name of the patient of a file."""
        found = re.search(self.patient, stem) if self.patient else None
        return found[1] if found and found.re.groups else stem


def read_dataset_file(path: Path) -> DatasetFile:
    """Read a folder's file.

    Raises:
        BadData: it is no TOML, or has keys or values that mean nothing.
    """
    try:
        return DatasetFile.model_validate(tomllib.loads(path.read_text("utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadData(f"{path} is no TOML: {error}") from error
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()
        )
        raise BadData(f"{path} cannot be used: {faults}") from error
