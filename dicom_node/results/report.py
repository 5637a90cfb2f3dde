"""Write measurements as a DICOM structured report (PS3.16, TID 1500).

The liver and each lesion have two measurement groups with one Tracking UID: the diameters, as lines
on an image of the source series (TID 1501), and volume and density, tied to the segment of the SEG
(TID 1411, which allows no lines). The last group is that of the liver as a whole, with the number
of lesions, the burden and the quality statement. Viewers that read no segments, OHIF among them,
draw the lines; OHIF 3.13 shows no report that has a finding without.
"""

from collections.abc import Iterator, Sequence
from itertools import starmap

import highdicom as hd
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import (
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    EnhancedSRStorage,
    SegmentationStorage,
)

from dicom_node.results.attributes import codes as ours
from dicom_node.results.attributes.derived_uid import derived_uid
from dicom_node.results.attributes.model_run import ModelRun, Predecessor
from dicom_node.results.attributes.segment_description import Algorithm
from dicom_node.results.attributes.source_images import evidence
from dicom_node.results.attributes.tracking import Tracking, track, track_liver
from dicom_node.results.attributes.values import LONG_STRING
from dicom_node.results.image_points import ImagePoints
from dicom_node.results.objects import ObjectKind
from dicom_node.results.series_identity import complete, series_identity
from dicom_node.series.frames import Frame
from engine.findings.measure import Axes, Axis, Measurements, Region
from engine.findings.quality import Quality

DECIMALS = 3
"""Of every number; a microlitre, a micrometre."""
LIVER, NEOPLASM = codes.SCT.Liver, codes.SCT.Neoplasm
OHIF_TOOL = "Cornerstone3DTools@^0.1.0:Bidirectional"
"""Begins the Tracking Identifier of a lesion. OHIF 3.13 lists a measurement, and jumps to it on a
click, only if its Tracking Identifier names the tool that could have drawn it
(`isValidCornerstoneTrackingIdentifier` of @cornerstonejs/adapters); others read it as text."""
REPORTS = (EnhancedSRStorage, ComprehensiveSRStorage, Comprehensive3DSRStorage)


def to_report(
    measured: Measurements,
    quality: Quality,
    seg: Dataset,
    sources: Sequence[Dataset],
    *,
    run: ModelRun,
    frames: Sequence[Frame] | None = None,
) -> hd.sr.Comprehensive3DSR:
    """Return the report on what `seg` shows in its sources.

    Args:
        measured: what was measured in the label map of the SEG.
        quality: what was found to be unusual in it.
        seg: the SEG that the report refers to.
        sources: its source series, in any order; pixels are not needed.
        run: the run of the model that made the labels.
        frames: the slices of the stack, where the sources hold others too; all of them otherwise.
    """
    algorithm = run.algorithm
    # By UID: the evidence is part of the content, and files come in any order.
    sources = sorted(sources, key=lambda source: str(source.SOPInstanceUID))
    groups = _Groups(seg, ImagePoints(sources, frames), sources, algorithm)
    report = hd.sr.Comprehensive3DSR(
        evidence=evidence([*sources, seg]),
        content=hd.sr.MeasurementReport(
            observation_context=_observer(algorithm),
            procedure_reported=codes.SCT.ComputedTomography,
            imaging_measurements=[
                *groups.regions(measured),
                groups.whole(measured, quality),
            ],
            title=codes.DCM.ImagingMeasurementReport,
        )[0],
        **series_identity("measurements", sources, run),
        is_complete=True,
    )
    complete(report, ObjectKind.REPORT, "measurements", sources, run)
    replaced = [
        _document(each)
        for each in run.predecessors
        # Not itself: equal work has the UID of the older report, and a document that precedes
        # itself is none.
        if each.sop_class_uid in REPORTS and each.instance_uid != report.SOPInstanceUID
    ]
    if replaced:
        report.PredecessorDocumentsSequence = replaced
    return report


def _document(replaced: Predecessor) -> Dataset:
    """Return a reference to a report (PS3.3, table C.17-3b)."""
    study, series, instance = Dataset(), Dataset(), Dataset()
    instance.ReferencedSOPClassUID = replaced.sop_class_uid
    instance.ReferencedSOPInstanceUID = replaced.instance_uid
    series.SeriesInstanceUID = replaced.series_uid
    series.ReferencedSOPSequence = [instance]
    study.StudyInstanceUID = replaced.study_uid
    study.ReferencedSeriesSequence = [series]
    return study


def _observer(algorithm: Algorithm) -> hd.sr.ObservationContext:
    """Return the observer: a device, without a person who has looked at the result."""
    device = hd.sr.DeviceObserverIdentifyingAttributes(
        uid=derived_uid("observer", algorithm.digest),
        name="Hepar",
        manufacturer_name="Hepar",
        model_name=algorithm.name,
        serial_number=algorithm.digest[:LONG_STRING],
    )
    return hd.sr.ObservationContext(
        observer_device_context=hd.sr.ObserverContext(
            observer_type=codes.DCM.Device, observer_identifying_attributes=device
        )
    )


class _Groups:
    """Makes the measurement groups of one report."""

    def __init__(
        self,
        seg: Dataset,
        points: ImagePoints,
        sources: Sequence[Dataset],
        algorithm: Algorithm,
    ) -> None:
        self.seg, self.points = seg, points
        self.series_uid = str(sources[0].SeriesInstanceUID)
        self.remarks = [algorithm.remark] if algorithm.remark else []
        self.algorithm = hd.sr.AlgorithmIdentification(
            name=algorithm.name,
            version=algorithm.version,
            parameters=_parameters(algorithm),
        )

    def regions(
        self, measured: Measurements
    ) -> Iterator[
        hd.sr.MeasurementsAndQualitativeEvaluations
        | hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations
    ]:
        """Yield the groups of the liver, and those of each lesion."""
        if measured.liver and measured.liver_axes:
            tracking, axes = track_liver(self.series_uid), measured.liver_axes
            yield self.untied(tracking, LIVER, self.liver_axes(axes))
            yield self.region(tracking, LIVER, list(_size(measured.liver)))
        named = zip(track(measured.lesions, self.series_uid), measured.lesions, strict=True)
        for tracking, lesion in named:
            lengths_mm = lesion.longest_mm, lesion.perpendicular_mm
            drawn = Tracking(f"{OHIF_TOOL}:{tracking.identifier}", tracking.uid)
            group = self.untied(drawn, NEOPLASM, self.axes(lengths_mm, lesion.axes))
            # Past highdicom's constructor, which has no argument for a comment.
            group[0].ContentSequence.append(_comment(tracking.identifier))
            yield group
            yield self.region(tracking, NEOPLASM, list(_size(lesion.region)))

    def untied(
        self, tracking: Tracking, finding: Code, measurements: list[hd.sr.Measurement]
    ) -> hd.sr.MeasurementsAndQualitativeEvaluations:
        """Return a group that is tied to no segment."""
        return hd.sr.MeasurementsAndQualitativeEvaluations(
            tracking_identifier=hd.sr.TrackingIdentifier(tracking.uid, tracking.identifier),
            finding_type=finding,
            finding_sites=[hd.sr.FindingSite(LIVER)],
            algorithm_id=self.algorithm,
            measurements=measurements,
        )

    def liver_axes(self, axes: Axes) -> list[hd.sr.Measurement]:
        """Return the diameters of the liver."""
        return self.axes((axes.longest_mm, axes.perpendicular_mm), axes.ends)

    def axes(
        self, lengths_mm: tuple[float, float], ends: tuple[Axis, Axis]
    ) -> list[hd.sr.Measurement]:
        """Return two diameters, each with its line on an image.

        They come before all other numbers: OHIF 3.13 looks for lines in the first number only.
        """
        names = (ours.LONG_AXIS, ours.SHORT_AXIS)
        return [
            hd.sr.Measurement(
                name,
                round(mm, DECIMALS),
                ours.MILLIMETRE,
                referenced_coordinates=[self.points.line(axis)],
            )
            for name, mm, axis in zip(names, lengths_mm, ends, strict=True)
        ]

    def region(
        self, tracking: Tracking, finding: Code, measurements: list[hd.sr.Measurement]
    ) -> (
        hd.sr.MeasurementsAndQualitativeEvaluations
        | hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations
    ):
        """Return a group of volume and density, tied to a segment.

        A report cannot name a segment of a Label Map Segmentation: Referenced Segment Number is
        for Segmentation Storage (PS3.3, table 10-3). There the Tracking UID alone is the tie.
        """
        if self.seg.SOPClassUID != SegmentationStorage:
            return self.untied(tracking, finding, measurements)
        return hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
            tracking_identifier=hd.sr.TrackingIdentifier(tracking.uid, tracking.identifier),
            referenced_segment=hd.sr.ReferencedSegment(
                sop_class_uid=self.seg.SOPClassUID,
                sop_instance_uid=self.seg.SOPInstanceUID,
                segment_number=segment_of(self.seg, tracking.uid, finding),
                source_series=hd.sr.SourceSeriesForSegmentation(self.series_uid),
            ),
            finding_type=finding,
            finding_sites=[hd.sr.FindingSite(LIVER)],
            algorithm_id=self.algorithm,
            measurements=measurements,
        )

    def whole(
        self, measured: Measurements, quality: Quality
    ) -> hd.sr.MeasurementsAndQualitativeEvaluations:
        """Return the group of the liver with its tumours, and of the quality of the result."""
        numbers = (
            (ours.VOLUME, measured.liver_ml, ours.MILLILITRE),
            (ours.LESIONS, len(measured.lesions), ours.COUNT),
            (ours.TUMOUR_VOLUME, measured.tumour_ml, ours.MILLILITRE),
            (ours.BURDEN, measured.burden_percent, ours.PERCENT),
        )
        group = hd.sr.MeasurementsAndQualitativeEvaluations(
            tracking_identifier=hd.sr.TrackingIdentifier(
                derived_uid(self.series_uid, "liver with tumours"), "Liver with tumours"
            ),
            finding_type=LIVER,
            algorithm_id=self.algorithm,
            measurements=[
                *(self.liver_axes(measured.whole_axes) if measured.whole_axes else []),
                *starmap(_number, numbers),
            ],
            qualitative_evaluations=[
                hd.sr.QualitativeEvaluation(ours.QUALITY, ours.STATEMENTS[quality.statement]),
                *(
                    hd.sr.QualitativeEvaluation(ours.CONCERN, ours.CONCERNS[concern])
                    for concern in quality.concerns
                ),
            ],
        )
        # The codes hold no values; past highdicom's constructor, which has no argument for texts.
        group[0].ContentSequence.extend(map(_comment, (*quality.details, *self.remarks)))
        return group


def _parameters(algorithm: Algorithm) -> list[str]:
    device = [f"device: {algorithm.device}"] if algorithm.device else []
    return [f"model-sha256: {algorithm.digest}", *device]


def _comment(text: str) -> hd.sr.TextContentItem:
    """Return a text, which OHIF shows as the name of a lesion; TID 1501 may be extended."""
    contains = hd.sr.RelationshipTypeValues.CONTAINS
    return hd.sr.TextContentItem(ours.COMMENT, text, relationship_type=contains)


def _size(region: Region) -> Iterator[hd.sr.Measurement]:
    # without a method: OHIF 3.13 passes over numbers that have a modifier and no line
    yield _number(ours.VOLUME, region.volume_ml, ours.MILLILITRE)
    for derivation, hu in ((ours.MEAN, region.mean_hu), (ours.DEVIATION, region.sd_hu)):
        yield _number(ours.DENSITY, hu, ours.HOUNSFIELD, derivation=derivation)


def _number(
    name: Code, value: float, unit: Code, *, derivation: Code | None = None
) -> hd.sr.Measurement:
    return hd.sr.Measurement(name, round(value, DECIMALS), unit, derivation=derivation)


def segment_of(seg: Dataset, tracking_uid: str, finding: Code) -> int:
    """Return the segment that shows a finding alone, or else all findings of its kind."""
    own = [each for each in seg.SegmentSequence if each.get("TrackingUID") == tracking_uid]
    kind = [
        each
        for each in seg.SegmentSequence
        if each.SegmentedPropertyTypeCodeSequence[0].CodeValue == finding.value
    ]
    return int((own or kind)[0].SegmentNumber)
