"""Labelled volumes and slices of the patients to evaluate."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np

from engine.model import Model
from trainer.datasets.cases.case import Case
from trainer.datasets.cases.slices import Slices, concatenate
from trainer.datasets.layouts.judged_slices import LABELS, read_judged
from trainer.datasets.layouts.npz import READERS, read_packed
from trainer.datasets.layouts.patient_names import todays_name
from trainer.datasets.layouts.read_all import read_cases
from trainer.errors import BadData


class PatientGroup(StrEnum):
    """Choice of patients in a folder."""

    UNSEEN = "patients that no model was trained on"
    TRAINED = "patients that the models were trained on"
    EVERYONE = "all patients"
    NAMED = "named patients"


def chosen_group(trained: bool, everyone: bool) -> PatientGroup:
    """Return the group that two switches ask for; everyone wins."""
    if everyone:
        return PatientGroup.EVERYONE
    return PatientGroup.TRAINED if trained else PatientGroup.UNSEEN


@dataclass(frozen=True)
class Choice:
    """Selection of patients."""

    whom: PatientGroup
    patients: frozenset[str]
    """Patients held out from the training of the models, or named ones."""

    def takes(self, patient: str) -> bool:
        """Whether a patient is to be looked at."""
        return self.whom is PatientGroup.EVERYONE or (
            # `patients` are those held out, so the trained ones are all others.
            (patient in self.patients) == (self.whom is not PatientGroup.TRAINED)
        )


@dataclass(frozen=True, eq=False)
class PatientCase:
    """A volume, or the slices without neighbours, of one patient."""

    patient: str
    images: Case | Slices


def unseen_patients(model: Model) -> frozenset[str]:
    """Return the patients whom a model was not trained on, by today's names; empty if unknown."""
    return frozenset(map(todays_name, model.manifest.evaluation.get("held_out_patients", ())))


def read_subjects(folder: Path, choice: Choice) -> Iterator[PatientCase]:
    """Read whatever labelled data is in `folder`, volumes first, one by one.

    Slices of a patient of whom there is a volume are left out.

    Raises:
        BadData: there is none, or none of the patients asked for.
    """
    seen: set[str] = set()
    others: set[str] = set()
    for case in read_cases(folder):
        if choice.takes(case.patient):
            seen.add(case.patient)
            yield PatientCase(case.patient, case)
        else:
            others.add(case.patient)
    for subject in _slices(folder):
        if not choice.takes(subject.patient):
            others.add(subject.patient)
        # In the volumes: their slices are the same patient, judged worse for lack of neighbours.
        elif subject.patient not in seen:
            yield subject
            seen.add(subject.patient)
    if not seen:
        raise BadData(_no_patients(folder, choice.whom, others))


def _slices(folder: Path) -> Iterator[PatientCase]:
    packed = [slices for _, slices in read_packed(folder)]
    together = [concatenate(packed)] if packed else []
    for slices in (*together, *read_judged(folder)):
        for patient in np.unique(slices.patient):
            yield PatientCase(str(patient), slices.of([str(patient)]))


def _no_patients(folder: Path, whom: PatientGroup, others: Collection[str]) -> str:
    if not others:
        return (
            f"no labelled data in {folder}, neither volumes nor "
            f"{', '.join([*READERS, *LABELS])}; name the "
            "folder of a data set as it was downloaded"
        )
    if whom is PatientGroup.NAMED:
        return f"no patient in {folder} has a given name; its patients: {', '.join(sorted(others))}"
    return (
        f"none of the {len(others)} patients in {folder} are {whom}; for data that no model has "
        "seen take --all"
    )
