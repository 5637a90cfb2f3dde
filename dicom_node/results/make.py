"""Make the objects of one series from the same findings, and verify each before it leaves."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from PIL import Image
from pydicom import Dataset

from dicom_node.results.attributes.model_run import ModelRun, Predecessor, now
from dicom_node.results.attributes.number_register import NumberRegister, NumbersOfRun
from dicom_node.results.attributes.segment_description import Algorithm
from dicom_node.results.attributes.tracking import track
from dicom_node.results.montage import note, to_montage, verify_montage
from dicom_node.results.objects import SEG, ObjectKind, ResultObject, SegForm
from dicom_node.results.page import Page, made_at, to_html, to_page
from dicom_node.results.pdf import to_encapsulated_pdf, to_png_text
from dicom_node.results.report import to_report
from dicom_node.results.rtstruct import to_rtstruct
from dicom_node.results.seg import encode, to_seg
from dicom_node.series.frames import Frame
from dicom_node.verify.pdf import verify_pdf
from dicom_node.verify.report import verify_report
from dicom_node.verify.rtstruct import verify_rtstruct
from dicom_node.verify.seg import verify_seg
from engine.findings.certainty import Certainty
from engine.findings.contours import with_note
from engine.findings.measure import Measurements
from engine.findings.quality import Quality
from engine.volume import LabelMap


@dataclass(frozen=True, eq=False)
class SeriesResult:
    """Findings in one series, and the circumstances in which they were made."""

    sources: Sequence[Dataset]
    algorithm: Algorithm
    label_map: LabelMap
    measured: Measurements
    quality: Quality
    picture: Image.Image | None = None
    """Contours over a few slices; needed for a montage and a page only."""
    remarks: Sequence[str] = ()
    """Sentences on the sources that a reader of the SEG should know."""
    source_digest: str = ""
    """Of the headers and pixels of the sources, in hexadecimal; part of every UID."""
    made_at: datetime = field(default_factory=now)
    """When the work was done; stated in every object, and part of no UID."""
    stack: str = ""
    """`Stack.label` in a series that holds several, such as "KVP 80"; empty for an only one."""
    predecessors: tuple[Predecessor, ...] = ()
    """Older results of the same series; stated in the report, and part of no UID."""
    frames: Sequence[Frame] | None = None
    """The slices that the label map shows, where the sources hold other stacks too."""
    numbers: NumberRegister = field(default_factory=NumbersOfRun)
    """Series Numbers that are in use; part of no UID."""
    certainty: Certainty | None = None
    """Probabilities and intervals; None where the model states nothing on that."""

    @property
    def run(self) -> ModelRun:
        """The run that these findings come of."""
        return ModelRun(
            self.algorithm,
            self.made_at,
            self.source_digest,
            self.stack,
            self.predecessors,
            self.numbers,
        )


def make_seg(findings: SeriesResult, form: SegForm = SEG.form) -> Dataset:
    """Return the SEG in one of its forms.

    Raises:
        NothingFound: no voxel is labelled.
    """
    series_uid = str(findings.sources[0].SeriesInstanceUID)
    return to_seg(
        findings.label_map,
        findings.sources,
        run=findings.run,
        encoding=form.encoding,
        lesions=track(findings.measured.lesions, series_uid) if form.per_lesion else None,
        remarks=findings.remarks,
        frames=findings.frames,
    )


def encode_verified(seg: Dataset, findings: SeriesResult, form: SegForm = SEG.form) -> bytes:
    """Return a SEG as the bytes of a file that were read back.

    Raises:
        SegMismatch: they are not what was found.
    """
    file = encode(seg)
    verify_seg(file, findings.sources, findings.label_map, per_lesion=form.per_lesion)
    return file


def make_others(
    items: Collection[ResultObject], findings: SeriesResult, seg: Dataset
) -> Iterator[tuple[ResultObject, bytes]]:
    """Yield the objects other than the BINARY SEG, each as the bytes of a file that was read back.

    Raises:
        SegMismatch, ResultMismatch: read back, one is not what was found.
    """
    segs = {SEG.form: seg}
    # A report names the SOP Instance UID of the SEG of its form, so that SEG has to exist before.
    for item in sorted({*items} - {SEG}, key=_segs_first):
        if item.kind is ObjectKind.SEG:
            segs[item.form] = make_seg(findings, item.form)
            yield item, encode_verified(segs[item.form], findings, item.form)
        elif item.kind is ObjectKind.MONTAGE:
            yield item, _montage(findings)
        elif item.kind is ObjectKind.RTSTRUCT:
            yield item, _rtstruct(findings)
        elif item.kind is ObjectKind.PDF:
            yield item, _pdf(findings)
        else:
            yield item, _report(findings, segs[item.form])


def _segs_first(item: ResultObject) -> tuple[bool, str]:
    return item.kind is not ObjectKind.SEG, item.name


def _montage(findings: SeriesResult) -> bytes:
    assert findings.picture is not None
    montage = encode(to_montage(findings.picture, findings.sources, run=findings.run))
    verify_montage(montage, findings.picture, findings.algorithm)
    return montage


def make_html(findings: SeriesResult) -> bytes:
    """Return the page on the series, the same as that in PDF, as a file for a browser."""
    assert findings.picture is not None
    picture = to_png_text(with_note(findings.picture, note(findings.algorithm)))
    when = made_at(findings.run, findings.sources[0])
    return to_html(_page(findings), when, picture).encode()


def _page(findings: SeriesResult) -> Page:
    return to_page(
        findings.measured,
        findings.quality,
        findings.label_map,
        findings.sources,
        run=findings.run,
        remarks=findings.remarks,
        certainty=findings.certainty,
    )


def _pdf(findings: SeriesResult) -> bytes:
    assert findings.picture is not None
    picture, sources = findings.picture, findings.sources
    made = to_encapsulated_pdf(_page(findings), picture, sources, run=findings.run)
    file = encode(made)
    verify_pdf(file, sources, findings.measured)
    return file


def _rtstruct(findings: SeriesResult) -> bytes:
    labels, sources = findings.label_map, findings.sources
    made = to_rtstruct(labels, sources, run=findings.run, frames=findings.frames)
    rtstruct = encode(made)
    verify_rtstruct(rtstruct, sources, labels)
    return rtstruct


def _report(findings: SeriesResult, seg: Dataset) -> bytes:
    report = encode(
        to_report(
            findings.measured,
            findings.quality,
            seg,
            findings.sources,
            run=findings.run,
            frames=findings.frames,
        )
    )
    verify_report(
        report,
        seg,
        findings.label_map,
        findings.measured,
        findings.quality,
        findings.sources,
        remark=findings.algorithm.remark,
    )
    return report
