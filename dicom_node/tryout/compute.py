"""From uploaded files to results, by the pipeline that series from the archive go through."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from dicom_node.errors import UnsupportedSeries
from dicom_node.pipeline.findings import Progress
from dicom_node.pipeline.outcome import Outcome, Verdict
from dicom_node.pipeline.process import Origin, process
from dicom_node.pipeline.scan_file import SUFFIX, marked_area
from dicom_node.pipeline.segmenter import SegmentationSetup, Segmenter
from dicom_node.pipeline.side_files import SideFile
from dicom_node.results.objects import SEG, ObjectKind, ResultObject
from dicom_node.tryout.sorting import Scans
from dicom_node.tryout.tryout import Scan, View
from engine.serving.turns import DeviceQueue

ITEMS = frozenset({SEG, ResultObject(ObjectKind.PDF)})
BESIDE = frozenset({SideFile.STATISTICS, SideFile.LABELS, SideFile.SCAN})

AtWork = Callable[[str], AbstractContextManager[object]]
Announce = Callable[[str], None]


@dataclass(frozen=True)
class Means:
    """What computes: shared with the jobs of the node."""

    segmenter: Segmenter
    device_queue: DeviceQueue
    """Jobs and uploads take turns on the device, urgent jobs first."""
    at_work: AtWork
    """`CrashRecord.at_work`: if the node dies, it is not put down to a job."""


@dataclass(frozen=True)
class _Work:
    name: str
    run: Callable[[SegmentationSetup], Outcome]


def compute(
    scans: Scans, folder: Path, means: Means, announce: Announce, progress: Progress
) -> Iterator[Scan]:
    """Segment each scan of an upload, and yield what came of it; results go to `folder`.

    Args:
        scans: to segment.
        folder: for the results.
        means: of the node.
        announce: called with what begins, such as "series 2 of 3".
        progress: called with the slices computed so far.

    Raises:
        NodeError, EngineError: the work failed; a scan that is refused does not raise.
    """
    segmenter = replace(means.segmenter, items=ITEMS)
    works = list(_works(scans, folder, progress))
    for number, work in enumerate(works, start=1):
        announce(f"{work.name} {number} of {len(works)}")

        def run(setup: SegmentationSetup, work: _Work = work) -> Outcome:
            device = means.device_queue.on(setup.device, urgent=False)
            return work.run(replace(setup, device=device, beside=BESIDE))

        try:
            outcome = segmenter.run(run)
        except UnsupportedSeries as error:
            reason = _without_folders(str(error), folder)
            outcome = Outcome(Verdict.REFUSED, reason)
        yield from _views(outcome, folder)


def _works(scans: Scans, folder: Path, progress: Progress) -> Iterator[_Work]:
    origin = Origin()  # one for all, so that no two results of a study have one Series Number
    for number, (uid, paths) in enumerate(scans.dicom.series.items(), start=1):
        # Where a file has no UID its folder stands for it, which no log needs.
        work = partial(process, paths, folder / f"series-{number}.dcm", origin=origin)
        log = {"series": "" if "/" in uid else uid, "progress": progress}
        yield _Work("series", partial(work, **log))
    for number, file in enumerate(scans.nifti, start=1):
        target = folder / f"nifti-{number}.nii.gz"
        yield _Work("NIfTI file", partial(_nifti, file, target, progress))


def _nifti(file: Path, target: Path, progress: Progress, setup: SegmentationSetup) -> Outcome:
    from dicom_node.pipeline.process_nifti import process_nifti  # 0.4 s of imports, for nibabel

    return process_nifti(file, target, setup, progress)


def _views(outcome: Outcome, folder: Path) -> Iterator[Scan]:
    for each in outcome.each:
        if each.seg is None:
            yield Scan("", each)
            continue
        stem = each.seg.name.removesuffix(".nii.gz").removesuffix(".dcm")
        yield Scan(stem, each, _view(each, folder / f"{stem}{SUFFIX}"))


def _view(outcome: Outcome, file: Path) -> View:
    area = marked_area(file)
    lesions = outcome.summary.lesions if outcome.summary else ()
    start = lesions[0].slice_number if lesions else int(area.argmax()) + 1
    return View(len(area), start, tuple(int(each) + 1 for each in area.nonzero()[0]))


def _without_folders(reason: str, folder: Path) -> str:
    return reason.replace(f"{folder}/upload/", "file ").replace("nifti/", "")
