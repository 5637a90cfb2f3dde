"""Unforeseen errors without their words: libraries quote what they read, even a patient's name."""

import traceback
from pathlib import Path

OWN = ("dicom_node", "engine")
"""Packages of which a line is named beside the one that raised."""


def unforeseen(error: BaseException) -> str:
    """Return how every command, the log and the job list report an error that is not ours."""
    return (
        f"unforeseen {error_location(error)}; its message may name the patient and is withheld;"
        " please report this line"
    )


def is_panic(error: BaseException) -> bool:
    """Return whether a decoder in Rust (pylibjpeg-rle) panicked: pyo3's error is no Exception.

    It ends a thread that catches Exceptions alone, and the work with it.
    """
    return type(error).__name__ == "PanicException"


def error_location(error: BaseException) -> str:
    """Return the error's type, the line that raised it and the last line of ours on the way."""
    lines = [
        f"{_in_package(frame.filename)}:{frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
    ]
    ours = [line for line in lines if line.startswith(OWN)][-1:]
    places = dict.fromkeys([*lines[-1:], *ours])
    return " ".join([type(error).__name__, *(f"at {place}" for place in places)])


def _in_package(filename: str) -> str:
    parts = Path(filename).parts
    owned = [index for index, part in enumerate(parts[:-1]) if part in OWN]
    return "/".join(parts[owned[-1] if owned else -2 :])
