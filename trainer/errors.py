"""Errors of the trainer.

TrainerError
├── BadData           the training data does not conform to its format
│   └── BadCase       one case cannot be used; the others can
├── ArchiveFailed     an archive does not answer, or refuses
├── BadRecipe         the recipe cannot be read, or asks for what there is not
├── BadMachine        what training is to run on is not there
├── BadModel          a model folder cannot be turned back into what was trained
├── ParityError       the exported graph does not answer as torch does
├── OtherRun          the folder holds a run that was begun otherwise
├── NotWritten        a file cannot be written; what was saved before is whole
└── Interrupted       Ctrl-C ended a training; its last epoch is saved
"""

from typing import ClassVar


class TrainerError(Exception):
    """Base of every error that the trainer raises on purpose."""

    exit_code: ClassVar[int] = 1
    """Exit status of a command that this error ends."""


class BadData(TrainerError):
    """The training data does not conform to its format."""


class BadCase(BadData):
    """One case cannot be used; the others can."""


class ArchiveFailed(TrainerError):
    """An archive does not answer, refuses, or sends what cannot be kept."""


class BadRecipe(TrainerError):
    """The recipe cannot be read, or asks for what there is not."""

    exit_code = 2


class BadMachine(TrainerError):
    """What training is to run on is not there."""

    exit_code = 2


class BadModel(TrainerError):
    """A model folder cannot be turned back into what was trained."""


class ParityError(TrainerError):
    """The exported graph does not answer as torch does."""


class OtherRun(TrainerError):
    """The folder holds a run that was begun otherwise."""

    exit_code = 2


class NotWritten(TrainerError):
    """The disk is full; what was saved before is whole."""


class Interrupted(TrainerError):
    """Ctrl-C ended a training; its last epoch is saved."""

    exit_code = 130
