"""Candidates read from the files of a series, before anything is computed on it."""

from collections.abc import Sequence
from pathlib import Path

from dicom_node.attributes import text_of
from dicom_node.choice.candidate import Candidate
from dicom_node.choice.contrast_phase import UNKNOWN, FoundPhase, Phase, named_phase, timed_phase
from dicom_node.choice.kernel import sharpness
from dicom_node.decoding.file_bounds import require_bounded_file
from dicom_node.dicom_file import read_file
from dicom_node.selection.rules import Rules
from dicom_node.selection.why_not import exclusion_reason, thickness_mm
from dicom_node.series.acquisition_times import seconds_of
from dicom_node.series.frames import Frame, frames_of

NAMES = ("SeriesDescription", "ProtocolName")
"""Attributes that may name the contrast phase; the first one that does is believed. A protocol
often has one name for all of its scans, the description is that of one."""


def read_candidate(job: str, paths: Sequence[Path], rules: Rules) -> Candidate | None:
    """Return a series as a candidate, by its first, middle and last file; None if rules exclude it.

    Raises:
        BrokenStream, InvalidDicomError, OSError, errors.UNREADABLE: a file cannot be read.
    """
    headers = []
    for path in dict.fromkeys((paths[0], paths[len(paths) // 2], paths[-1])):
        # Before it is parsed: these files have passed no other check yet.
        require_bounded_file(path)
        headers.append(read_file(path, stop_before_pixels=True))
    frames = frames_of(headers)
    # Estimated: three files stand for all, which may hold several frames each.
    slices = len(frames) * len(paths) // len(headers)
    if exclusion_reason(headers, rules, slices):
        return None
    header, frame = headers[len(headers) // 2], frames[len(frames) // 2]
    return Candidate(
        job=job,
        number=text_of(header, "SeriesNumber"),
        phase=_phase(frame),
        kernel=sharpness(frame.text("ConvolutionKernel")),
        thickness_mm=thickness_mm(header),
        slices=slices,
    )


def _phase(frame: Frame) -> FoundPhase:
    named = (named_phase(text_of(frame.instance, keyword)) for keyword in NAMES)
    timed = timed_phase(seconds_of(frame, "ContrastBolusStartTime"), seconds_of(frame))
    known = (each for each in (*named, timed) if each.phase is not Phase.UNKNOWN)
    return next(known, UNKNOWN)
