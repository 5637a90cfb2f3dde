"""Modality of a received series, by which jobs are chosen."""

import re
from pathlib import Path

from dicom_node.attributes import text_of
from dicom_node.dicom_file import UNREADABLE_FILE, read_file

CODE = re.compile(r"[A-Z0-9]{1,16}")
"""A code of PS3.3 C.7.3.1.1.1; other text might name the patient and is not kept."""


def modality_of(path: Path) -> str:
    """Return the modality that a file states; empty where it states none, or cannot be read."""
    try:
        header = read_file(path, stop_before_pixels=True, specific_tags=["Modality"])
    except UNREADABLE_FILE:
        return ""
    found = text_of(header, "Modality")
    return found if CODE.fullmatch(found) else ""
