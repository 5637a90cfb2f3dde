"""Corrections that come in: each is compared with the result that it corrects, and registered.

A correction is a SEG that a person drew or changed, on a series that has a result of this node. Its
file need not be kept: the archive has it, from which `hepar dataset pull` takes it.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from dbos import WorkflowStatus
from pydicom import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info

from dicom_node.annotations import Annotation, Author, UnreadableDrawing, describe_segmentation
from dicom_node.attributes import UNREADABLE
from dicom_node.corrections.announced_drawing import announced_drawing
from dicom_node.corrections.comparison import dice_of, drawing_of
from dicom_node.corrections.correction import WAITS, Correction
from dicom_node.corrections.kept_labels import (
    LEARNT,
    Drawing,
    KeptLabels,
    read_kept_labels,
    write_drawing,
)
from dicom_node.corrections.register import CorrectionRegister
from dicom_node.corrections.shadow_comparison import compare_shadow
from dicom_node.data_folder import DataFolder
from dicom_node.error_location import error_location, is_panic
from dicom_node.errors import ResultPending, UnsupportedSeries
from dicom_node.jobs.state import result_folder, superseded_by
from dicom_node.jobs.submit.submission import jobs_of
from dicom_node.jobs.workflows import is_active
from dicom_node.receive.scp import CORRECTIONS
from dicom_node.series import read_series

logger = logging.getLogger(__name__)


def corrections_among(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Return the files that hold a SEG."""
    return tuple(path for path in paths if _sop_class(path) in CORRECTIONS)


@dataclass(frozen=True)
class CorrectionIntake:
    """Registers the corrections that a node receives."""

    data: DataFolder
    shadow: str = ""
    """Digest of the shadow model, with which corrections are compared too; empty without one."""

    def acknowledge(self, paths: Iterable[Path]) -> None:
        """Note SEGs that wait to be taken, so that the pages of their jobs show them.

        Raises:
            OSError, StoreUnusable: the register cannot be written.
        """
        if found := [*filter(None, map(_waiting, paths))]:
            CorrectionRegister(self.data.corrections).note(found)

    def drop(self, path: Path) -> None:
        """State that the file of a SEG that waited is gone.

        Raises:
            OSError, StoreUnusable: the register cannot be written.
        """
        reason = "its file was removed before it was compared; send it again"
        CorrectionRegister(self.data.corrections).end_wait(path.stem, reason)

    def is_given_up(self, path: Path, stamp: str) -> bool:
        """Return whether a SEG was given up, and its file has the same stamp still.

        Raises:
            OSError, StoreUnusable: the register cannot be read.
        """
        return CorrectionRegister(self.data.corrections).is_given_up(path.stem, stamp)

    def give_up(self, path: Path, stamp: str, reason: str) -> None:
        """Register why a SEG is not compared, now and after a restart, until it is sent again.

        Raises:
            OSError, StoreUnusable: the register cannot be written.
        """
        _log(CorrectionRegister(self.data.corrections).give_up(path.stem, stamp, reason))

    def take(self, paths: Sequence[Path]) -> None:
        """Register SEGs; once this returns, no crash loses them, and their files may go.

        Raises:
            ResultPending: the result is still being computed; offer them again.
            OSError, StoreUnusable: the register cannot be written; offer them again.
        """
        register = CorrectionRegister(self.data.corrections)
        for path in paths:
            if correction := self._read(path):
                register.keep(correction)
                _log(correction)
                if self.shadow and not correction.reason:
                    compare_shadow(self.data, self.shadow, correction.job)
            else:  # it had waited as another SEG of the same UID
                register.end_wait(path.stem, "what came last under its UID is a machine's")

    def _read(self, path: Path) -> Correction | None:
        """Return the correction in a file; None where no person drew it."""
        found = Correction(path.stem, "", datetime.now(UTC))
        try:
            (seg,) = read_series([path])
            drawing = describe_segmentation(seg)
            if drawing.author is not Author.PERSON:
                logger.info("SEG left out: drawn by %s", drawing.author, extra=_extra(found))
                return None
            return self._compared(seg, drawing, found)
        except (UnsupportedSeries, UnreadableDrawing) as error:
            return replace(found, reason=str(error))
        # Whatever a file does to a reader: it is named, and not offered again for ever.
        except BaseException as error:
            if not (isinstance(error, (*UNREADABLE, MemoryError)) or is_panic(error)):
                raise
            return replace(found, reason=f"it cannot be read: {error_location(error)}")

    def _compared(self, seg: Dataset, drawing: Annotation, found: Correction) -> Correction:
        found = replace(found, series_uid=drawing.series_uid, written=drawing.written)
        if not drawing.series_uid:
            return replace(found, reason="it does not name the one series that it was drawn on")
        if not drawing.marks:
            return replace(found, reason="none of its segments is named as liver or tumour")
        if not drawing.drawn:
            words = "its liver and tumours are a machine's; only what a person drew is compared"
            return replace(found, reason=words)
        job = corrected_job(jobs_of(drawing.series_uid), drawing.written)
        if job is None:
            return replace(found, reason="this node has no job on the series it was drawn on")
        found = replace(found, job=job.workflow_id)
        if later := superseded_by(job):
            words = f"its result was superseded by job {later}; correct the result of that one"
            return replace(found, reason=words)
        files = self.data.kept_labels_of(job.workflow_id, result_folder(job))
        if not files and is_active(job):
            raise ResultPending(f"job {job.workflow_id} has no result yet to be corrected")
        if not files:
            return replace(found, reason="its job has no result, or the labels were removed")
        try:
            file, kept, drawing_there = _first_fit(seg, files)
        except UnreadableDrawing as error:
            return replace(found, reason=str(error))
        if self.shadow:  # the shadow model may come later, when the SEG is gone
            write_drawing(self.data.drawing(file.name, found.uid), drawing_there)
        made_by = replace(found, scanner=kept.scanner, model=kept.model, digest=kept.digest)
        if kept.learnt:
            return replace(made_by, stack=file.name, reason=LEARNT)
        return replace(made_by, stack=file.name, dice=dice_of(drawing_there, kept.label_map))


def _waiting(path: Path) -> Correction | None:
    """Return a SEG as it waits; None where no person drew it, or it cannot be read."""
    drawing = announced_drawing(path)
    if drawing is None or drawing.author is not Author.PERSON:
        return None
    job = corrected_job(jobs_of(drawing.series_uid), drawing.written)
    found = Correction(path.stem, drawing.series_uid, datetime.now(UTC), reason=WAITS)
    return replace(found, job=job.workflow_id if job else "", written=drawing.written)


def corrected_job(jobs: Sequence[WorkflowStatus], written: str) -> WorkflowStatus | None:
    """Return the job whose result a SEG corrects: the newest that was there when it was written.

    Where clocks disagree so much that none was, the newest is taken.

    Args:
        jobs: of the series, the newest first.
        written: Content Date and Time of the SEG, in local time; empty where it states none.
    """
    moment_ms = _epoch_ms(written)
    there = [each for each in jobs if moment_ms is None or (each.created_at or 0) <= moment_ms]
    return next(iter([*there, *jobs]), None)


def _epoch_ms(written: str) -> float | None:
    try:
        return datetime.strptime(written[:14], "%Y%m%d%H%M%S").timestamp() * 1000
    except ValueError:
        return None


def _first_fit(seg: Dataset, files: Sequence[Path]) -> tuple[Path, KeptLabels, Drawing]:
    """Return the stack on whose grid a SEG lies, and what it marks there.

    Raises:
        UnreadableDrawing: it lies on none of them.
    """
    errors = []
    for file in files:
        try:
            kept = read_kept_labels(file)
            return file, kept, drawing_of(seg, kept.label_map.geometry)
        except UnreadableDrawing as error:
            errors.append(error)
    raise errors[0]


def _sop_class(path: Path) -> str:
    try:
        return str(read_file_meta_info(path).get("MediaStorageSOPClassUID", ""))
    except (OSError, InvalidDicomError, *UNREADABLE):
        return ""


def _extra(correction: Correction) -> dict[str, str]:
    extra = {"action": "correction", "job": correction.job, "series": correction.series_uid}
    return {name: value for name, value in extra.items() if value}


def _log(correction: Correction) -> None:
    if correction.reason:
        words = correction.uid, correction.reason
        logger.warning("SEG %s is not compared: %s", *words, extra=_extra(correction))
        return
    dice = ", ".join(f"{name} {value:.3f}" for name, value in correction.dice.items())
    logger.info("a person corrected the result; Dice: %s", dice, extra=_extra(correction))
