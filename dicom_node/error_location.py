"""What can be said of an error that nobody foresaw: its kind and its place, and none of its words.

Libraries quote what they stumble over, and that may be the patient's name or birth date.
"""

import traceback
from pathlib import Path

OWN = ("dicom_node", "engine")
"""The packages whose lines are named beside the one that raised."""


def error_location(error: BaseException) -> str:
    """Return the error's kind, the line that raised it and the last line of ours on the way."""
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
