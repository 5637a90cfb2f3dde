"""CT series with a SEG of the liver that a person drew or corrected, as archives give them."""

from collections.abc import Iterator, Mapping, Sequence, Set
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dicom_node.annotations import (
    AnnotatedSeries,
    Annotation,
    Author,
    UnreadableDrawing,
    describe_segmentation,
    find_annotated,
    masks_by_persons,
)
from dicom_node.series import UnsupportedSeries, read_series, to_volume
from engine.manifest import hashed_patient
from engine.volume import Geometry, Label
from trainer.datasets.cases.case import Case
from trainer.datasets.cases.target import Target
from trainer.datasets.layouts.found import Found
from trainer.errors import BadCase

DRAWN = "CT with SEG"

# Spares opening thousands of files. DICOM has no suffix of its own, so others are tried.
NO_DICOM = {".nii", ".gz", ".npz", ".png", ".zip", ".json", ".txt", ".csv", ".md"}

Masks = Mapping[Label, NDArray[np.bool_]]


def find_drawn(files: Sequence[Path]) -> Iterator[Found]:
    """Yield every CT series that a SEG among the files refers to."""
    for series in find_annotated(path for path in files if path.suffix not in NO_DICOM):
        name = series.series_uid or f"SEG {series.segmentations[0].name}"
        place = series.segmentations[0].parent
        yield Found(DRAWN, name, place, partial(_read, series, name))


def _read(series: AnnotatedSeries, name: str) -> Case:
    if not series.series_uid:
        raise BadCase(f"{name}: it does not say which one series it was drawn on")
    if not series.images:
        raise BadCase(f"series {name}: there is a SEG, and no image; put both into the folder")
    try:
        images = read_series(series.images, derive_frame_of_reference=True)
        volume, uids = to_volume(images), {str(each.SOPInstanceUID) for each in images}
        target = _target(_by_persons(series.segmentations, volume.geometry, uids, name), name)
    except (UnsupportedSeries, UnreadableDrawing) as error:
        raise BadCase(f"series {name}: {error}") from error
    patient = hashed_patient(series.patient_id, series.study_uid)
    return Case(patient, DRAWN, name, volume, target)


def _by_persons(paths: Sequence[Path], grid: Geometry, images: Set[str], name: str) -> list[Masks]:
    """Return what persons marked, the newest first.

    Args:
        paths: SEGs on the series.
        grid: of the series.
        images: SOP Instance UIDs of the series.
        name: of the series.
    """
    segs = [(describe_segmentation(seg), seg) for seg in read_series(paths)]
    ours = [(drawing, seg) for drawing, seg in segs if drawing.author is Author.PERSON]
    if not ours:
        authors = ", ".join(sorted({drawing.author for drawing, _ in segs}))
        raise BadCase(f"series {name}: drawn by {authors}; only what persons drew is learnt from")
    for drawing, _ in ours:
        _require_images(drawing, images, name)
    newest = sorted(ours, key=lambda each: each[0].written, reverse=True)
    drawn = [(drawing.written, masks_by_persons(seg, grid)) for drawing, seg in newest]
    for (time, one), (other_time, other) in pairwise(drawn):
        if time == other_time and _differ(one, other):
            raise BadCase(
                f"series {name}: two segmentations were saved at the same time"
                f" ({time or 'not stated'}) and differ; remove the one that is not to be learnt"
            )
    return [masks for _, masks in drawn]


def _require_images(drawing: Annotation, images: Set[str], name: str) -> None:
    """Return if a SEG was drawn on the instances that are there.

    Raises:
        BadCase: it names others, so the series has been replaced since.
    """
    if missing := drawing.instances - images:
        raise BadCase(
            f"series {name}: drawn on {len(missing)} slices that are not in the series, which is"
            " incomplete here or was replaced since; pull it again, or correct the newer result"
        )


def _differ(one: Masks, other: Masks) -> bool:
    """Return whether two SEGs mark the same structure otherwise."""
    both = one.keys() & other.keys()
    return any(not np.array_equal(one[label], other[label]) for label in both)


def _target(drawn: Sequence[Masks], name: str) -> NDArray[np.uint8]:
    """Return the newest liver with the tumours of the same SEG.

    Where that has none, a SEG of tumours alone counts; one that marks another liver does not: its
    tumours may have been taken back since. Where nobody drew the liver, tumours are learnt from
    alone.
    """
    liver = next((masks for masks in drawn if Label.LIVER in masks), None)
    if liver is None:
        return _tumours_alone(drawn, name)
    tumours = [liver, *(masks for masks in drawn if Label.LIVER not in masks)]
    tumour = next((masks[Label.TUMOUR] for masks in tumours if Label.TUMOUR in masks), None)
    inside = Target.LIVER_OR_TUMOUR if tumour is None else Target.LIVER
    target = np.where(liver[Label.LIVER], np.uint8(inside), np.uint8(Target.BACKGROUND))
    if tumour is not None:
        target[tumour] = Target.TUMOUR
    return target


def _tumours_alone(drawn: Sequence[Masks], name: str) -> NDArray[np.uint8]:
    tumour = next((masks[Label.TUMOUR] for masks in drawn if Label.TUMOUR in masks), None)
    if tumour is None:
        raise BadCase(
            f"series {name}: its SEG has neither a segment of the liver (SCT 10200004) nor one of "
            "a tumour in it that a person drew"
        )
    return np.where(tumour, np.uint8(Target.TUMOUR), np.uint8(Target.NO_TUMOUR))
