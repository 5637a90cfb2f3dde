"""A twin of a series: the same geometry and the same fault, and nothing of the patient.

Headers follow the Basic Application Level Confidentiality Profile (PS3.15 E.1), by
dicom-anonymizer. What that leaves of free text, names, dates and private data is removed too, so
that nothing depends on its tables being complete.
"""

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from dicomanonymizer.simpledicomanonymizer import anonymize_dataset, get_UID
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.dataset import FileMetaDataset
from pydicom.tag import BaseTag
from pydicom.uid import ExplicitVRLittleEndian

from dicom_node.attributes import identifying_text
from engine.phantom import make_phantom

TEXTS, DATES = ("PN", "LO", "SH", "LT", "ST", "UT", "UC", "UR"), ("DA", "DT", "TM", "AS")
FREE = {*TEXTS, *DATES, "AE", "UN", "OB", "OW"}
"""Value representations that can hold a name, a date or anything at all."""

KEPT = {"ConvolutionKernel", "PixelData", "PatientIdentityRemoved", "DeidentificationMethod"}
"""Attributes of these that stay: a kernel is one of the things that faults are about."""

CLOCK = ("AcquisitionTime", "ContentTime")
"""Times that are shifted and not removed: faults are about their order."""

SMALLEST = 16
"""Rows and columns below which no phantom is drawn."""


def write_twins(paths: Sequence[Path], folder: Path, *, pixels: bool = False) -> list[str]:
    """Write a twin of each file into `folder`; return a line for each that cannot be read.

    Args:
        paths: instances of one series.
        folder: created if it does not exist.
        pixels: keep the patient's own pixels in place of a phantom's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found, unreadable = [], []
    for number, path in enumerate(paths, start=1):
        try:
            found.append((number, dcmread(path)))
        except Exception as error:  # any damage: it is the fault that the bundle is about
            unreadable.append(f"{number}: {path.stat().st_size} bytes, {type(error).__name__}")
    earliest = {
        each: min(_seconds(instance, each) for _, instance in found) for each in CLOCK if found
    }
    stand_ins = _stand_ins([instance for _, instance in found])
    # The phantom's slices run upwards; in the order of files they would jump.
    ordered = sorted(found, key=lambda each: _height(each[1]))
    # Of this call alone, and a second for a slice of another size: hundreds of megabytes.
    drawn = lru_cache(maxsize=2)(partial(_phantom, max(len(ordered), 2)))
    for place, (number, instance) in enumerate(ordered):
        times = {
            each: _seconds(instance, each) - earliest[each] for each in CLOCK if each in instance
        }
        if not pixels:
            _draw_phantom(instance, place, drawn)
        others = [(each, of[_key(instance, each)]) for each, of in stand_ins.items()]
        _remove_identity(instance, times)
        for keyword, value in others:
            if value:
                setattr(instance, keyword, value)
        instance.save_as(folder / f"{number:04d}.dcm", enforce_file_format=True)
    return unreadable


def _stand_ins(instances: Sequence[Dataset]) -> dict[str, dict[str, str]]:
    """Return for each attribute that tells slices apart what stands for each of its values.

    Slices that differ in a description or a patient are split or refused: without a difference the
    twin would be sound.
    """
    # Their tags alone: to iterate over an instance reads its values, some of which are damaged.
    tags = set[BaseTag]().union(*(instance.keys() for instance in instances))
    keywords = {keyword_for_tag(tag) for tag in tags if dictionary_has_tag(tag)} - KEPT
    found = {}
    for keyword in sorted(each for each in keywords if tag_for_keyword(each)):  # no overlay's
        if dictionary_VR(keyword) not in (*TEXTS, "DA"):
            continue
        values = sorted({_key(instance, keyword) for instance in instances})
        if len(values) > 1:
            form = _day if dictionary_VR(keyword) == "DA" else "value {}".format
            numbered = enumerate(filter(None, values), start=1)
            found[keyword] = {"": ""} | {value: form(number) for number, value in numbered}
    return found


def _day(number: int) -> str:
    return f"{date(1900, 1, 1) + timedelta(days=number):%Y%m%d}"


def _key(instance: Dataset, keyword: str) -> str:
    """Return the value of an attribute such that equal ones mean the same; empty without one."""
    return identifying_text(instance, keyword)


def twin_uid(uid: str) -> str:
    """Return the UID that stands for this one in every twin of this process."""
    return str(get_UID(uid))


def _remove_identity(instance: Dataset, times: dict[str, float]) -> None:
    syntax = instance.file_meta.TransferSyntaxUID
    instance.file_meta = FileMetaDataset()  # it names sender and receiver
    instance.file_meta.TransferSyntaxUID = syntax
    anonymize_dataset(instance)
    _remove_free_values(instance)
    for keyword, seconds in times.items():
        # A scan across midnight would have a negative time.
        minutes, rest = divmod(seconds % 86400, 60)
        setattr(instance, keyword, f"{int(minutes // 60):02d}{int(minutes % 60):02d}{rest:09.6f}")
    instance.PatientName, instance.PatientID = "Twin", "TWIN"
    instance.PatientIdentityRemoved = "YES"
    instance.DeidentificationMethod = "PS3.15 E.1"
    instance.file_meta.MediaStorageSOPClassUID = instance.SOPClassUID
    instance.file_meta.MediaStorageSOPInstanceUID = instance.SOPInstanceUID


def _remove_free_values(dataset: Dataset) -> None:
    """Remove free text, dates and private data, also inside sequences; replace every UID."""
    for element in list(dataset):
        if element.VR == "SQ":
            for item in element.value:
                _remove_free_values(item)
                for nested in item:
                    # SOP Class UIDs stay: they name a kind of object, not a person.
                    if nested.VR == "UI" and "Class" not in nested.keyword:
                        nested.value = twin_uid(str(nested.value))
        elif element.tag.is_private or (element.VR in FREE and element.keyword not in KEPT):
            del dataset[element.tag]


def _phantom(slices: int, rows: int, columns: int) -> NDArray[np.int16]:
    """Return a phantom's slices in Hounsfield units."""
    shape, spacing_mm = (slices, rows, columns), (5.0, 0.8, 0.8)
    return make_phantom(shape=shape, spacing_mm=spacing_mm, tumours=0).volume.hu


def _draw_phantom(
    instance: Dataset, place: int, drawn: Callable[[int, int], NDArray[np.int16]]
) -> None:
    """Put a phantom's slice in place of the pixels; what has no plain 16-bit image gets none."""
    rows, columns = int(instance.get("Rows") or 0), int(instance.get("Columns") or 0)
    plain = instance.get("BitsAllocated") == 16 and "NumberOfFrames" not in instance
    if not plain or min(rows, columns) < SMALLEST:
        instance.pop("PixelData", None)
        return
    # Twice: a slope may be absent, or the text "0".
    slope = float(instance.get("RescaleSlope") or 1) or 1.0
    stored = (drawn(rows, columns)[place] - float(instance.get("RescaleIntercept") or 0)) / slope
    signed = instance.get("PixelRepresentation") == 1
    kind = np.dtype(np.int16 if signed else np.uint16)
    limits = np.iinfo(kind)
    instance.PixelData = np.clip(np.rint(stored), limits.min, limits.max).astype(kind).tobytes()
    # It had the VR of the source, which is OB where that was compressed (PS3.5 A.4).
    instance["PixelData"].VR = "OW"
    instance.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian


def _height(instance: Dataset) -> float:
    position = instance.get("ImagePositionPatient") or (0, 0, 0)
    return float(position[2]) if len(position) == 3 else 0.0


def _seconds(instance: Dataset, keyword: str) -> float:
    """Return a time of day in seconds; 0 where there is none that can be read."""
    text = str(instance.get(keyword) or "")
    try:
        return int(text[:2]) * 3600 + int(text[2:4] or 0) * 60 + float(text[4:] or 0)
    except ValueError:
        return 0.0
