"""Write a label map as an RT Structure Set: outlines for planning systems.

The liver is the whole organ here, with its tumours, as planning asks for; each lesion is an ROI
(region of interest) of its own. Outlines run halfway between the centres of the pixels inside and
outside, so every reader that fills them by the even-odd rule gets the same pixels back. A hole is
an outline in an outline.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import contourpy
import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import ImplicitVRLittleEndian, RTStructureSetStorage

from dicom_node.results.attributes.model_run import ModelRun
from dicom_node.results.attributes.segment_description import lesion_colour
from dicom_node.results.attributes.values import SHORT_TEXT, plain
from dicom_node.results.objects import ObjectKind
from dicom_node.results.series_identity import complete, series_identity
from dicom_node.series.frames import Frame, frames_of
from dicom_node.verify.planes import Plane, facing, planes_of, slice_at
from engine.findings.contours import COLOURS
from engine.findings.measure import separate_lesions
from engine.volume import Label, LabelMap


def to_rtstruct(
    label_map: LabelMap,
    sources: Sequence[Dataset],
    *,
    run: ModelRun,
    frames: Sequence[Frame] | None = None,
) -> hd.SOPClass:
    """Return the outlines of the liver and of each lesion.

    Args:
        label_map: on the grid of the sources, in any orientation.
        sources: the instances of the series, in any order; pixels are not needed.
        run: the run of the model that made the labels.
        frames: the slices of the stack, where the sources hold others too; all of them otherwise.
    """
    algorithm = run.algorithm
    sources = sorted(sources, key=lambda source: str(source.SOPInstanceUID))
    made = hd.SOPClass(
        study_instance_uid=sources[0].StudyInstanceUID,
        sop_class_uid=RTStructureSetStorage,
        modality="RTSTRUCT",
        transfer_syntax_uid=ImplicitVRLittleEndian,  # an explicit VR ends an outline at 64 KiB
        **series_identity("outlines", sources, run),
    )
    made.OperatorsName = ""
    made.StructureSetLabel = "Hepar"
    made.StructureSetDescription = plain(
        f"Marked automatically by {algorithm.name} {algorithm.version}; outlines fill by the"
        " even-odd rule",
        SHORT_TEXT,
    )
    made.ApprovalStatus = "UNAPPROVED"
    frame = label_map.geometry.frame_of_reference
    made.FrameOfReferenceUID, made.PositionReferenceIndicator = frame, ""
    made.ReferencedFrameOfReferenceSequence = [_referenced(frame, sources)]
    # `frames_of` counts from 1 everywhere, `planes_of` has None for a single-frame instance.
    shown = {(frame.text("SOPInstanceUID"), frame.number) for frame in frames or frames_of(sources)}
    planes = [
        plane for plane in planes_of(sources) if (plane.instance_uid, plane.frame or 1) in shown
    ]
    _add_regions(made, separate_lesions(label_map), sources, planes)
    complete(made, ObjectKind.RTSTRUCT, "outlines", sources, run)
    # the Structure Set module has dates of its own in place of Content Date (PS3.3 C.8.8.5)
    made.StructureSetDate, made.StructureSetTime = made.ContentDate, made.ContentTime
    del made.ContentDate, made.ContentTime
    return made


def _add_regions(
    made: Dataset, numbers: LabelMap, sources: Sequence[Dataset], planes: Sequence[Plane]
) -> None:
    classes = {str(each.SOPInstanceUID): each.SOPClassUID for each in sources}
    shown = facing(numbers, planes[0])
    # Slice by slice, in whatever order the files came: the order is part of the UIDs.
    placed = sorted(((slice_at(shown, plane), plane) for plane in planes), key=lambda at: at[0])
    outlines: dict[int, list[Dataset]] = {}
    for index, plane in placed:
        for number, mask in _masks(shown.labels[index]):
            outlines.setdefault(number, []).extend(
                _outline(points, plane, classes) for points in outline_points(mask)
            )
    regions = sorted(outlines.items())
    frame = numbers.geometry.frame_of_reference
    made.StructureSetROISequence = [_region(number, frame) for number, _ in regions]
    made.ROIContourSequence = [_contours(number, drawn) for number, drawn in regions]
    made.RTROIObservationsSequence = [_observation(number) for number, _ in regions]


def _masks(plane: NDArray[Any]) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """Yield the liver with its tumours, and each lesion, as far as they are in a slice."""
    if plane.any():
        # The whole organ: with the lesions, whose numbers are larger.
        yield int(Label.LIVER), plane > 0
        for number in np.unique(plane[plane > Label.LIVER]).tolist():
            yield number, plane == number


def outline_points(mask: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """Return closed outlines as (n, 2) rows and columns; the last point is not the first again."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    part = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    # With a rim of zeros every outline closes within the array, also of a mask that touches the
    # image's edge.
    padded = np.pad(part, 1).astype(np.float32)
    # Halfway from a centre (1) to the next one outside (0).
    lines = contourpy.contour_generator(z=padded).lines(0.5)
    # contourpy gives (x, y) and repeats the first point; -1 takes back the rim.
    return [np.asarray(line)[:-1, ::-1] + (rows[0] - 1.0, columns[0] - 1.0) for line in lines]


def _outline(points: NDArray[np.float64], plane: Plane, classes: dict[str, str]) -> Dataset:
    places = (plane.affine[:3] @ np.c_[points, np.ones(len(points))].T).T
    image, outline = Dataset(), Dataset()
    image.ReferencedSOPClassUID = classes[plane.instance_uid]
    image.ReferencedSOPInstanceUID = plane.instance_uid
    if plane.frame:
        image.ReferencedFrameNumber = plane.frame
    outline.ContourImageSequence = [image]
    outline.ContourGeometricType = "CLOSED_PLANAR"
    outline.NumberOfContourPoints = len(points)
    # A micrometre, in the 16 characters of a DS.
    outline.ContourData = [f"{number:.3f}" for number in places.ravel()]
    return outline


def _region(number: int, frame_of_reference: str) -> Dataset:
    region = Dataset()
    region.ROINumber = number
    region.ReferencedFrameOfReferenceUID = frame_of_reference
    region.ROIName = "Liver" if number == Label.LIVER else f"Lesion {number - 1}"
    region.ROIGenerationAlgorithm = "AUTOMATIC"
    return region


def _contours(number: int, outlines: list[Dataset]) -> Dataset:
    contours = Dataset()
    contours.ReferencedROINumber = number
    liver = number == Label.LIVER
    colour = COLOURS[Label.LIVER] if liver else lesion_colour(number - Label.TUMOUR)
    contours.ROIDisplayColor = list(colour)
    contours.ContourSequence = outlines
    return contours


def _observation(number: int) -> Dataset:
    observation = Dataset()
    observation.ObservationNumber = observation.ReferencedROINumber = number
    # Type 2. Whether a lesion is a target ("GTV") is for the person who plans.
    observation.RTROIInterpretedType = "ORGAN" if number == Label.LIVER else ""
    observation.ROIInterpreter = ""
    return observation


def _referenced(frame_of_reference: str, sources: Sequence[Dataset]) -> Dataset:
    """Name the whole series, also the slices that show no liver."""
    frame, study, series = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = sources[0].SeriesInstanceUID
    series.ContourImageSequence = [_image(source) for source in sources]
    study.ReferencedSOPClassUID = "1.2.840.10008.3.1.2.3.1"  # retired, yet required (C.8.8.5)
    study.ReferencedSOPInstanceUID = sources[0].StudyInstanceUID
    study.RTReferencedSeriesSequence = [series]
    frame.FrameOfReferenceUID = frame_of_reference
    frame.RTReferencedStudySequence = [study]
    return frame


def _image(source: Dataset) -> Dataset:
    image = Dataset()
    image.ReferencedSOPClassUID = source.SOPClassUID
    image.ReferencedSOPInstanceUID = source.SOPInstanceUID
    return image
