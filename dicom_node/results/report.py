"""From measurements to a DICOM structured report (PS3.16, TID 1500).

One measurement group for the liver, one for each lesion, each tied to its segment of the SEG; and
one for the liver as a whole, with the number of lesions, the burden and the quality statement.
"""

from collections.abc import Iterator, Sequence
from itertools import starmap

import highdicom as hd
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from dicom_node.results.attributes import codes as ours
from dicom_node.results.attributes.making import Making
from dicom_node.results.attributes.segment_description import Algorithm
from dicom_node.results.attributes.source_images import evidence
from dicom_node.results.attributes.tracking import Tracking, track, track_liver
from dicom_node.results.attributes.uids import derived_uid
from dicom_node.results.attributes.values import LONG_STRING
from dicom_node.results.objects import ObjectKind
from dicom_node.results.series_identity import complete, series_identity
from engine.findings.measure import Lesion, Measurements, Region
from engine.findings.quality import Quality

DECIMALS = 3
"""Of every number; a microlitre, a micrometre."""
LIVER, NEOPLASM = codes.SCT.Liver, codes.SCT.Neoplasm


def to_report(
    measured: Measurements,
    quality: Quality,
    seg: Dataset,
    sources: Sequence[Dataset],
    *,
    making: Making,
) -> hd.sr.ComprehensiveSR:
    """Return the report on what `seg` shows in its sources.

    Args:
        measured: what was measured in the label map of the SEG.
        quality: what was found to be unusual in it.
        seg: the SEG that the report refers to.
        sources: its source series, in any order; pixels are not needed.
        making: the run of the model that made the labels.
    """
    algorithm = making.algorithm
    sources = sorted(sources, key=lambda source: str(source.SOPInstanceUID))
    groups = _Groups(seg, sources, algorithm)
    report = hd.sr.ComprehensiveSR(
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
        **series_identity("measurements", sources, making),
        is_complete=True,
    )
    complete(report, ObjectKind.REPORT, "measurements", sources, making)
    return report


def _observer(algorithm: Algorithm) -> hd.sr.ObservationContext:
    """Say that a machine measured, and nobody has looked at it."""
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

    def __init__(self, seg: Dataset, sources: Sequence[Dataset], algorithm: Algorithm) -> None:
        self.seg = seg
        self.series_uid = str(sources[0].SeriesInstanceUID)
        self.algorithm = hd.sr.AlgorithmIdentification(
            name=algorithm.name,
            version=algorithm.version,
            parameters=[f"model-sha256: {algorithm.digest}"],
        )

    def regions(
        self, measured: Measurements
    ) -> Iterator[hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations]:
        """Yield the group of the liver, and one for each lesion."""
        if measured.liver:
            yield self.region(track_liver(self.series_uid), LIVER, list(_size(measured.liver)))
        named = zip(track(measured.lesions, self.series_uid), measured.lesions, strict=True)
        yield from starmap(self.lesion, named)

    def lesion(
        self, tracking: Tracking, lesion: Lesion
    ) -> hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations:
        """Return the group of one lesion."""
        axes = (
            _number(ours.LONG_AXIS, lesion.longest_mm, ours.MILLIMETRE),
            _number(ours.SHORT_AXIS, lesion.perpendicular_mm, ours.MILLIMETRE),
        )
        return self.region(tracking, NEOPLASM, [*_size(lesion.region), *axes])

    def region(
        self, tracking: Tracking, finding: Code, measurements: list[hd.sr.Measurement]
    ) -> hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations:
        """Return a group that is tied to a segment."""
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
        """Return the group of the liver with its tumours, and of what is thought of it."""
        numbers = (
            (ours.VOLUME, measured.liver_ml, ours.MILLILITRE),
            (ours.LESIONS, len(measured.lesions), ours.COUNT),
            (ours.TUMOUR_VOLUME, measured.tumour_ml, ours.MILLILITRE),
            (ours.BURDEN, measured.burden_percent, ours.PERCENT),
        )
        return hd.sr.MeasurementsAndQualitativeEvaluations(
            tracking_identifier=hd.sr.TrackingIdentifier(
                derived_uid(self.series_uid, "liver with tumours"), "Liver with tumours"
            ),
            finding_type=LIVER,
            algorithm_id=self.algorithm,
            measurements=list(starmap(_number, numbers)),
            qualitative_evaluations=[
                hd.sr.QualitativeEvaluation(ours.QUALITY, ours.STATEMENTS[quality.statement]),
                *(
                    hd.sr.QualitativeEvaluation(ours.CONCERN, ours.CONCERNS[concern])
                    for concern in quality.concerns
                ),
            ],
        )


def _size(region: Region) -> Iterator[hd.sr.Measurement]:
    voxels = codes.DCM.SumOfSegmentedVoxelMethodForVolume
    yield _number(ours.VOLUME, region.volume_ml, ours.MILLILITRE, method=voxels)
    for derivation, hu in ((ours.MEAN, region.mean_hu), (ours.DEVIATION, region.sd_hu)):
        yield _number(ours.DENSITY, hu, ours.HOUNSFIELD, derivation=derivation)


def _number(
    name: Code,
    value: float,
    unit: Code,
    *,
    method: Code | None = None,
    derivation: Code | None = None,
) -> hd.sr.Measurement:
    rounded = round(value, DECIMALS)
    return hd.sr.Measurement(name, rounded, unit, method=method, derivation=derivation)


def segment_of(seg: Dataset, tracking_uid: str, finding: Code) -> int:
    """Return the segment that shows a finding alone, or else all findings of its kind."""
    own = [each for each in seg.SegmentSequence if each.get("TrackingUID") == tracking_uid]
    kind = [
        each
        for each in seg.SegmentSequence
        if each.SegmentedPropertyTypeCodeSequence[0].CodeValue == finding.value
    ]
    return int((own or kind)[0].SegmentNumber)
