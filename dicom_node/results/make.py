"""The objects beside the SEG: each made of the same findings, and read back before it leaves."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from PIL import Image
from pydicom import Dataset

from dicom_node.results.attributes.segment_description import Algorithm
from dicom_node.results.attributes.tracking import track
from dicom_node.results.attributes.uids import ResultUids, result_uids
from dicom_node.results.montage import to_montage, verify_montage
from dicom_node.results.objects import SEG, ObjectKind, ResultObject, SegForm
from dicom_node.results.report import to_report
from dicom_node.results.rtstruct import to_rtstruct
from dicom_node.results.seg import encode, to_seg
from dicom_node.verify.report import verify_report
from dicom_node.verify.rtstruct import verify_rtstruct
from dicom_node.verify.seg import verify_seg
from engine.findings.measure import Measurements, separate_lesions
from engine.findings.quality import Quality
from engine.volume import LabelMap


@dataclass(frozen=True, eq=False)
class SeriesResult:
    """What is known of a series."""

    sources: Sequence[Dataset]
    algorithm: Algorithm
    label_map: LabelMap
    measured: Measurements
    quality: Quality
    picture: Image.Image | None = None
    """Contours over a few slices, where an object shows them."""
    remarks: Sequence[str] = ()
    """What a reader of the SEG should know of its sources."""

    def uids(self, item: ResultObject) -> ResultUids:
        """Return the UIDs of an object that is made of this."""
        instances = (str(source.SOPInstanceUID) for source in self.sources)
        return result_uids(instances, self.algorithm.digest, "" if item == SEG else item.name)


def make_seg(findings: SeriesResult, form: SegForm = SEG.form) -> Dataset:
    """Return the SEG in one of its forms.

    Raises:
        NothingFound: no voxel is liver.
    """
    series_uid = str(findings.sources[0].SeriesInstanceUID)
    return to_seg(
        findings.label_map,
        findings.sources,
        algorithm=findings.algorithm,
        uids=findings.uids(ResultObject(ObjectKind.SEG, form)),
        encoding=form.encoding,
        lesions=track(findings.measured.lesions, series_uid) if form.per_lesion else None,
        remarks=findings.remarks,
    )


def encode_verified(seg: Dataset, findings: SeriesResult, form: SegForm = SEG.form) -> bytes:
    """Return a SEG as the bytes of a file that were read back.

    Raises:
        SegMismatch: they are not what was found.
    """
    file = encode(seg)
    shown = findings.label_map
    verify_seg(file, findings.sources, separate_lesions(shown) if form.per_lesion else shown)
    return file


def make_others(
    items: Collection[ResultObject], findings: SeriesResult, seg: Dataset
) -> Iterator[tuple[ResultObject, bytes]]:
    """Yield the objects other than the BINARY SEG, each as the bytes of a file that was read back.

    Raises:
        SegMismatch, ResultMismatch: read back, one is not what was found.
    """
    segs = {SEG.form: seg}
    for item in sorted({*items} - {SEG}, key=_segs_first):
        if item.kind is ObjectKind.SEG:
            segs[item.form] = make_seg(findings, item.form)
            yield item, encode_verified(segs[item.form], findings, item.form)
        elif item.kind is ObjectKind.MONTAGE:
            yield item, _montage(item, findings)
        elif item.kind is ObjectKind.RTSTRUCT:
            yield item, _rtstruct(item, findings)
        else:
            yield item, _report(item, findings, segs[item.form])


def _segs_first(item: ResultObject) -> tuple[bool, str]:
    return item.kind is not ObjectKind.SEG, item.name


def _montage(item: ResultObject, findings: SeriesResult) -> bytes:
    assert findings.picture is not None
    uids, algorithm = findings.uids(item), findings.algorithm
    made = to_montage(findings.picture, findings.sources, algorithm=algorithm, uids=uids)
    montage = encode(made)
    verify_montage(montage, findings.picture, algorithm)
    return montage


def _rtstruct(item: ResultObject, findings: SeriesResult) -> bytes:
    labels, sources = findings.label_map, findings.sources
    uids, algorithm = findings.uids(item), findings.algorithm
    rtstruct = encode(to_rtstruct(labels, sources, algorithm=algorithm, uids=uids))
    verify_rtstruct(rtstruct, sources, labels)
    return rtstruct


def _report(item: ResultObject, findings: SeriesResult, seg: Dataset) -> bytes:
    report = encode(
        to_report(
            findings.measured,
            findings.quality,
            seg,
            findings.sources,
            algorithm=findings.algorithm,
            uids=findings.uids(item),
        )
    )
    verify_report(report, seg, findings.label_map, findings.measured, findings.quality)
    return report
