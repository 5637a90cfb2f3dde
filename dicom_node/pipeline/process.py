"""Process one series: read, take apart, segment, write, verify."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from time import perf_counter

from pydicom import Dataset, dcmread

from dicom_node.errors import NothingFound, UnsupportedSeries
from dicom_node.logs import note, step
from dicom_node.pipeline.findings import Progress, find
from dicom_node.pipeline.outcome import Outcome, Verdict, combine, to_outcome
from dicom_node.pipeline.plausible_units import require_hounsfield
from dicom_node.pipeline.result_files import keep_or_write
from dicom_node.pipeline.segmenter import SegmentationSetup
from dicom_node.pipeline.side_files import write_kept, write_scan_file, write_side_files
from dicom_node.results.attributes.model_run import Predecessor
from dicom_node.results.attributes.number_register import NumberRegister, NumbersOfRun
from dicom_node.results.make import SeriesResult, encode_verified, make_html, make_others, make_seg
from dicom_node.results.objects import ObjectKind, delivered_seg
from dicom_node.selection.rules import Rules
from dicom_node.selection.why_not import exclusion_reason
from dicom_node.series.ct_requirements import rescale_note
from dicom_node.series.frame_of_reference import has_derived_frame_of_reference
from dicom_node.series.kinds import Handling
from dicom_node.series.perfusion import favoured, time_points
from dicom_node.series.reading import ReadFiles, read_files
from dicom_node.series.stacks import Stack, find_stacks
from dicom_node.series.volume import stack_volume
from engine.durable_files import write_durably
from engine.findings.summary import summarize

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Origin:
    """Content that results are made of, and results that they take the place of."""

    digest: str = ""
    """`content_digest` of the series; empty where nobody took it."""
    predecessors: tuple[Predecessor, ...] = ()
    numbers: NumberRegister = field(default_factory=NumbersOfRun, compare=False)
    """Series Numbers in use in the study."""


def process(
    paths: Sequence[Path],
    target: Path,
    method: SegmentationSetup,
    *,
    series: str,
    progress: Progress | None = None,
    origin: Origin | None = None,
) -> Outcome:
    """Segment the series kept in `paths`; only what was verified appears as `target` or beside it.

    A series of several stacks has a SEG for each, beside `target` under the stack's key.

    Args:
        paths: the instances, in any order.
        target: file of the SEG.
        method: device, model, and rules for which series are segmented.
        series: Series Instance UID, for the log.
        progress: called with the slices computed so far.
        origin: digest of the series, older results that the new ones take the place of, and Series
            Numbers in use.

    Raises:
        UnsupportedSeries: no stack of the series can be segmented; the message has the reason.
        SegMismatch, EngineError: there is no SEG; the message has the reason.
    """
    begun = perf_counter()
    # Headers first: most series that are refused are refused by these, and no pixel is decoded for
    # them.
    read = read_files(
        paths, derive_frame_of_reference=method.derive_frame_of_reference, pixels=False
    )
    _require_instances(read)
    found = find_stacks(read.instances, derived_axial=method.rules.derived_axial)
    chosen = list(_choose(found.stacks, method.rules))
    run = _Run(target, method, series, progress, origin or Origin(), perf_counter() - begun)
    outcomes = []
    for stack, skipped in chosen:
        if skipped is not None:
            outcomes.append(skipped)
            continue
        try:
            outcomes.append(_process_stack(stack, run))
        except UnsupportedSeries as error:
            outcomes.append(_refused(stack, str(error)))
    # All of them: a series with one good stack has a result, and names the others.
    if {outcome.verdict for outcome in outcomes} == {Verdict.REFUSED}:
        notes = "".join(f"; {each}" for each in (*read.notes, *found.notes))
        raise UnsupportedSeries(combine(outcomes).reason + notes)
    return combine(outcomes, (*read.notes, *found.notes))


def stack_file(target: Path, key: str) -> Path:
    """Return where the SEG of a stack lies; `target` itself where the series is one stack."""
    return target.with_name(f"{target.stem}.stack-{key}{target.suffix}") if key else target


def _require_instances(read: ReadFiles) -> None:
    for path, reason in read.unreadable.items():
        if not read.instances:
            raise UnsupportedSeries(
                f"{path} is no whole DICOM file: {reason}; send the instance again"
            )


def _choose(stacks: Sequence[Stack], rules: Rules) -> Iterator[tuple[Stack, Outcome | None]]:
    """Yield each stack, with its outcome where nothing is computed for it."""
    skipped = {id(stack): _skipped(stack, rules) for stack in stacks}
    # Only of those left: a time point that no rule lets through must not be the favoured one.
    times = time_points([stack for stack in stacks if skipped[id(stack)] is None])
    best = favoured(times) if times else None
    for stack in stacks:
        outcome = skipped[id(stack)]
        if best is not None and stack in times and stack is not best:
            outcome = _unselected(
                stack,
                f"one of {len(times)} time points of a perfusion; {best.label} is segmented, where "
                "the liver is brightest",
            )
        yield stack, outcome


def _skipped(stack: Stack, rules: Rules) -> Outcome | None:
    if reason := exclusion_reason(stack.instances, rules, len(stack.frames)):
        return _unselected(stack, reason)
    if stack.handling(bridge_gaps=rules.bridge_gaps) is Handling.REFUSE:
        return _refused(stack, str(stack.found))
    return None


def _unselected(stack: Stack, reason: str) -> Outcome:
    return _without_result(stack, Verdict.NOT_SELECTED, reason)


def _refused(stack: Stack, reason: str) -> Outcome:
    return _without_result(stack, Verdict.REFUSED, reason)


def _without_result(stack: Stack, verdict: Verdict, reason: str) -> Outcome:
    return Outcome(verdict, reason, stack=stack.key, label=stack.label, slices=len(stack.frames))


@dataclass(frozen=True)
class _Run:
    """Context shared by all stacks of a series."""

    target: Path
    method: SegmentationSetup
    series: str
    progress: Progress | None
    origin: Origin
    headers_s: float
    """Seconds in which the headers were read and taken apart."""


def _process_stack(stack: Stack, run: _Run) -> Outcome:
    """Segment one stack, and write what was made of it and verified."""
    begun, seconds, method, series = perf_counter(), dict[str, float](), run.method, run.series
    volume, sources = stack_volume(stack), stack.instances
    require_hounsfield(volume)
    for source in sources:
        source.pop("PixelData", None)  # multi-frame: from here on headers do
    note(logger, {"read": run.headers_s + perf_counter() - begun}, series, seconds)
    found_in = find(
        volume,
        method.device,
        series=series,
        progress=run.progress,
        seconds=seconds,
        pictured=method.draws,
        members=method.members,
        domain=method.domain,
        calibration=method.calibration,
    )
    target = stack_file(run.target, stack.key)
    write_scan_file(method.beside, target, volume, found_in.made.label_map)
    # Results are made of labels; the voxels' memory is needed for writing.
    del volume
    made_by = method.algorithm
    notes = (*_notes(stack), *([made_by.remark] if made_by.remark else []))
    found = SeriesResult(
        sources,
        made_by,
        found_in.made.label_map,
        found_in.measured,
        found_in.quality,
        found_in.picture,
        [*_remarks(sources), *notes],
        stack=stack.label,
        frames=stack.frames,
        source_digest=run.origin.digest,
        predecessors=run.origin.predecessors,
        numbers=run.origin.numbers,
        certainty=found_in.certainty,
    )
    with step(logger, "write", series, seconds):
        try:
            seg = make_seg(found)
        except NothingFound as error:
            nothing = _without_result(stack, Verdict.NOTHING_FOUND, str(error))
            return replace(nothing, notes=notes, model=made_by.model, seconds=seconds)
    with step(logger, "verify", series, seconds):
        # Verified in memory, so that no file appears which has to be taken back.
        keep_or_write(target, encode_verified(seg, found))
    with step(logger, "others", series, seconds):
        files, shown = _write_others(found, seg, target, method)
    write_side_files(method.beside, target, found_in, made_by)
    write_kept(method.beside, target, method.kept(found.label_map, sources[0]))
    outcome = to_outcome(found_in.made, found_in.quality, target, shown, files, seconds)
    summary = summarize(found.measured, found.label_map, certainty=found_in.certainty)
    return replace(
        outcome,
        stack=stack.key,
        label=stack.label,
        notes=notes,
        model=made_by.model,
        summary=summary,
    )


def _write_others(
    found: SeriesResult, seg: Dataset, target: Path, method: SegmentationSetup
) -> tuple[dict[str, Path], Dataset]:
    """Write the objects beside the SEG; return their files, and the SEG that a viewer shows."""
    files = {}
    shown, shown_item = seg, delivered_seg(method.items)
    for item, file in make_others(method.items, found, seg):
        if item == shown_item:
            shown = dcmread(BytesIO(file), stop_before_pixels=True)
        files[item.name] = item.file_beside(target)
        written = keep_or_write(files[item.name], file)
        # Not beside an older file that was kept: the page states the time of the run,
        # as the PDF does.
        if item.kind is ObjectKind.PDF and written:
            write_durably(files[item.name].with_suffix(".html"), make_html(found))
    return files, shown


def _notes(stack: Stack) -> Iterator[str]:
    """Yield remarks on the stack for a reader of the result."""
    if stack.label:
        yield f"One of several stacks in its series: {stack.label}."
    if stack.found.kind.answer is not Handling.SEGMENT:
        yield f"Source slices: {stack.found.kind}, {stack.found.detail}."
    if differing := rescale_note(stack.frames):
        yield differing


def _remarks(sources: Sequence[Dataset]) -> list[str]:
    """Return remarks on the frame of reference for a reader of the SEG."""
    if has_derived_frame_of_reference(sources):
        return ["The source has no frame of reference; this one was derived from its series UID."]
    return []
