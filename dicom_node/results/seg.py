"""From a label map to a DICOM Segmentation object.

The segments are the values of the label map, exclusive as in LiTS: "Liver" is the liver without
the tumours that are marked in it, "Tumour" is those. So the voxel counts of a viewer, the
millilitres of the label map and what another toolkit reads back are the same numbers; whoever
wants the liver with its tumours adds two. Each segment's description says so.

The same label map, sources and algorithm give the same bytes: nothing in the object tells when,
or how often, it was made. Its dates are the newest that the sources have.
"""

from collections.abc import Sequence
from io import BytesIO

import highdicom as hd
import numpy as np
from pydicom import Dataset
from pydicom.pixels.encoders.base import RLELosslessEncoder
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from dicom_node.errors import NothingFound
from dicom_node.results.attributes.provenance import (
    LONG_STRING,
    SHORT_TEXT,
    lossy_compression,
    plain,
    take_origin,
)
from dicom_node.results.attributes.segment_description import Algorithm, describe, describe_lesion
from dicom_node.results.attributes.source_images import refer_to_all, references, take_positions
from dicom_node.results.attributes.tracking import Tracking
from dicom_node.results.attributes.uids import ResultUids
from dicom_node.results.objects import Encoding, ObjectKind
from dicom_node.results.series_identity import series_identity
from dicom_node.series.frames import Frame, frames_of
from engine.findings.measure import separate_lesions
from engine.volume import Label, LabelMap

__all__ = ["Algorithm", "encode", "to_seg"]


if "gdcm" in RLELosslessEncoder.available_plugins:
    # pydicom would ask it first, where it is installed; it (3.2.6) ends the process, without a
    # Python exception, over a frame with odd numbers of rows and of columns.
    RLELosslessEncoder.remove_plugin("gdcm")

SYNTAXES = {
    Encoding.BINARY: ExplicitVRLittleEndian,  # nothing else that viewers are known to read
    Encoding.LABELMAP: RLELossless,  # a fiftieth of its size
}


def to_seg(
    label_map: LabelMap,
    sources: Sequence[Dataset],
    *,
    algorithm: Algorithm,
    uids: ResultUids,
    encoding: Encoding = Encoding.BINARY,
    lesions: Sequence[Tracking] | None = None,
    remarks: Sequence[str] = (),
) -> hd.seg.Segmentation:
    """Wrap `label_map` as a segmentation of the series it was made from.

    The labels travel with their own geometry, so the order of `sources` is free; their pixels
    are not needed. Frames have the rows, columns and positions of the source's own slices.

    Args:
        label_map: on the grid of the sources, in any orientation.
        sources: the single-frame instances, or the one multi-frame instance, of the series.
        algorithm: the model that made the labels.
        uids: of `result_uids`.
        encoding: BINARY unless whoever reads it knows LABELMAP too.
        lesions: names in the order of `engine.findings.measure`, for one segment per lesion in
            place of one segment for all.
        remarks: sentences a reader of the object should know; they go to Derivation
            Description (0008,2111).

    Raises:
        NothingFound: no voxel is liver.
    """
    labels = _labels_in(label_map)
    sources = _in_order(sources)
    frames = frames_of(sources)
    shown = label_map if lesions is None else separate_lesions(label_map)
    volume = _without_empty_ends(_as_source_lies(shown, frames[0]))
    title = " and ".join(["liver", "tumours"][: len(labels)])
    seg = hd.seg.Segmentation(
        source_images=references(sources, volume),
        pixel_array=volume,
        segmentation_type=hd.seg.SegmentationTypeValues[encoding.name],
        transfer_syntax_uid=SYNTAXES[encoding],
        segment_descriptions=_segments(labels, lesions, algorithm),
        **series_identity(ObjectKind.SEG, title, sources[0], algorithm, uids),
        content_label="LIVER",
        content_description=plain(
            f"{title.capitalize()} by {algorithm.name} {algorithm.version}", LONG_STRING
        ),
        omit_empty_frames=True,
    )
    _without_background(seg)
    refer_to_all(seg, sources)
    _name_dimensions(seg, uids.dimensions)
    take_positions(seg, frames)
    take_origin(seg, sources, algorithm)
    seg.update(lossy_compression(sources))
    seg.DerivationDescription = plain(" ".join([_derivation(algorithm, seg), *remarks]), SHORT_TEXT)
    return seg


def encode(seg: Dataset) -> bytes:
    """Return the object as the bytes of a DICOM file (PS3.10)."""
    file = BytesIO()
    seg.save_as(file, enforce_file_format=True)
    return file.getvalue()


def _labels_in(label_map: LabelMap) -> list[Label]:
    """Return the labels that get a segment: never an empty one, numbered from 1 without a hole."""
    if not _has(label_map, Label.LIVER):
        raise NothingFound("no voxel was marked as liver; check that the series shows the abdomen")
    return [Label.LIVER, Label.TUMOUR] if _has(label_map, Label.TUMOUR) else [Label.LIVER]


def _segments(
    labels: Sequence[Label], lesions: Sequence[Tracking] | None, algorithm: Algorithm
) -> list[hd.seg.SegmentDescription]:
    if lesions is None:
        return [describe(label, algorithm) for label in labels]
    own = [describe_lesion(number, each, algorithm) for number, each in enumerate(lesions, 1)]
    return [describe(Label.LIVER, algorithm), *own]


def _without_background(seg: Dataset) -> None:
    """Drop the segment 0 that highdicom puts into a LABELMAP: it shifts OHIF's colours by one."""
    seg.SegmentSequence = [item for item in seg.SegmentSequence if item.SegmentNumber > 0]


def _has(label_map: LabelMap, label: Label) -> bool:
    return any(label in plane for plane in label_map.labels)  # stops at the first


def _in_order(sources: Sequence[Dataset]) -> list[Dataset]:
    """Sort by place, so that the order of arrival leaves no trace in the object."""
    return sorted(sources, key=lambda source: (_height(source), str(source.SOPInstanceUID)))


def _height(source: Dataset) -> float:
    header = frames_of([source])[0].header
    orientation = [float(cosine) for cosine in header.ImageOrientationPatient]
    normal = np.cross(orientation[:3], orientation[3:])
    return float(normal @ [float(coordinate) for coordinate in header.ImagePositionPatient])


def _as_source_lies(label_map: LabelMap, frame: Frame) -> hd.Volume:
    """Turn the labels so that their rows and columns are those of the source's slices."""
    grid = label_map.geometry
    volume = hd.Volume(
        label_map.labels,
        grid.affine,
        "PATIENT",
        frame_of_reference_uid=grid.frame_of_reference,
    )
    along_columns, along_rows = np.array(frame.header.ImageOrientationPatient, float).reshape(2, 3)
    wanted = np.stack([np.cross(along_columns, along_rows), along_rows, along_columns])
    agreement = wanted @ np.stack(volume.unit_vectors(), axis=1)
    axes = [int(axis) for axis in np.abs(agreement).argmax(axis=1)]
    backward = [i for i, axis in enumerate(axes) if agreement[i, axis] < 0]
    volume = volume.permute_spatial_axes(axes)
    return volume.flip_spatial(backward) if backward else volume


def _without_empty_ends(volume: hd.Volume) -> hd.Volume:
    """Leave out the slices before and behind the labels; highdicom would look at each."""
    labelled = np.flatnonzero(volume.array.any(axis=(1, 2)))
    return volume[int(labelled[0]) : int(labelled[-1]) + 1]


def _name_dimensions(seg: Dataset, uid: str) -> None:
    for item in [*seg.DimensionOrganizationSequence, *seg.DimensionIndexSequence]:
        item.DimensionOrganizationUID = uid


def _derivation(algorithm: Algorithm, seg: Dataset) -> str:
    made = f"Marked automatically by {algorithm.name} {algorithm.version}."
    if seg.LossyImageCompression == "01":
        return f"{made} Source pixels were lossy compressed."
    return made
