"""Write a label map as a DICOM Segmentation object.

The segments are the values of the label map, exclusive as in LiTS: "Liver" is the liver without
the tumours that are marked in it, "Tumour" is those. So the voxel counts of a viewer, the
millilitres of the label map and what another toolkit reads back are the same numbers; the liver
with its tumours is the sum of two. Each segment's description states it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, RLELossless

from dicom_node.errors import NothingFound
from dicom_node.results.attributes.model_run import ModelRun
from dicom_node.results.attributes.provenance import lossy_compression
from dicom_node.results.attributes.raw_bytes import keep_raw_bytes
from dicom_node.results.attributes.segment_description import Algorithm, describe, describe_lesion
from dicom_node.results.attributes.source_images import refer_to_all, references, take_positions
from dicom_node.results.attributes.tracking import Tracking
from dicom_node.results.attributes.values import LONG_STRING, SHORT_TEXT, plain
from dicom_node.results.objects import Encoding, ObjectKind
from dicom_node.results.series_identity import complete, series_identity
from dicom_node.series.frames import Frame, frames_of, instances_of
from dicom_node.series.slice_positions import axes_of, in_order
from engine.findings.measure import separate_lesions
from engine.volume import Label, LabelMap

__all__ = ["Algorithm", "encode", "to_seg"]

RLE_PLUGIN = "pylibjpeg"
"""pydicom would ask gdcm first, where it is installed; that (3.2.6) ends the process, without a
Python exception, over a frame with odd numbers of rows and of columns."""


def to_seg(
    label_map: LabelMap,
    sources: Sequence[Dataset],
    *,
    run: ModelRun,
    encoding: Encoding = Encoding.BINARY,
    lesions: Sequence[Tracking] | None = None,
    remarks: Sequence[str] = (),
    frames: Sequence[Frame] | None = None,
) -> hd.seg.Segmentation:
    """Wrap `label_map` as a segmentation of the series it was made from.

    The labels travel with their own geometry, so the order of `sources` is free; their pixels
    are not needed. Frames have the rows, columns and positions of the source's own slices.

    Args:
        label_map: on the grid of the sources, in any orientation.
        sources: the single-frame instances, or the one multi-frame instance, of the series.
        run: the run of the model that made the labels.
        encoding: BINARY unless every reader supports LABELMAP too.
        lesions: names in the order of `engine.findings.measure`, for one segment per lesion in
            place of one segment for all.
        remarks: sentences for a reader of the object; they go to Derivation
            Description (0008,2111).
        frames: the slices of the stack, where the sources hold others too; all of them otherwise.

    Raises:
        NothingFound: no voxel is labelled.
    """
    algorithm, frames = run.algorithm, in_order(frames or frames_of(sources))
    sources = instances_of(frames)
    segments = _segments(label_map, lesions)
    seg = _wrap(segments, label_map, frames, encoding, run)
    _without_background(seg)
    refer_to_all(seg, sources)
    # After `refer_to_all`: this one names instance and frame in each group, that one the series.
    take_positions(seg, frames, even=label_map.geometry.slice_places is None)
    seg.update(lossy_compression(sources))
    seg.DerivationDescription = plain(" ".join([_derivation(algorithm, seg), *remarks]), SHORT_TEXT)
    # Before `complete`: the UIDs are of the pixels as they leave.
    if encoding is Encoding.LABELMAP:  # a fiftieth of its size
        seg.compress(RLELossless, encoding_plugin=RLE_PLUGIN, generate_instance_uid=False)
    complete(seg, ObjectKind.SEG, segments.title, sources, run)
    return seg


def _wrap(
    segments: "_Segments",
    label_map: LabelMap,
    frames: Sequence[Frame],
    encoding: Encoding,
    run: ModelRun,
) -> hd.seg.Segmentation:
    """Return the segments as highdicom makes an object of them."""
    algorithm = run.algorithm
    first, volume = _without_empty_ends(_as_source_lies(segments.numbers, label_map, frames[0]))
    return hd.seg.Segmentation(
        source_images=references(frames, first, volume),
        pixel_array=volume,
        segmentation_type=hd.seg.SegmentationTypeValues[encoding.name],
        transfer_syntax_uid=ExplicitVRLittleEndian,
        segment_descriptions=segments.described(algorithm),
        **series_identity(segments.title, instances_of(frames), run),
        content_label="LIVER",
        content_description=plain(
            f"{segments.title.capitalize()} by {algorithm.name} {algorithm.version}", LONG_STRING
        ),
        omit_empty_frames=True,
    )


def encode(seg: Dataset) -> bytes:
    """Return the object as the bytes of a DICOM file (PS3.10)."""
    syntax = UID(seg.file_meta.TransferSyntaxUID)
    keep_raw_bytes(seg, implicit_vr=syntax.is_implicit_VR)
    file = BytesIO()
    seg.save_as(file, enforce_file_format=True)
    return file.getvalue()


@dataclass(frozen=True, eq=False)
class _Segments:
    """Segments and their masks."""

    numbers: NDArray[np.uint8] | NDArray[np.uint16]
    """(slice, row, column): number of the segment, 0 for none."""
    title: str
    liver: bool
    """Whether segment 1 is the liver; it is not where tumours fill all of it."""
    lesions: Sequence[Tracking] | None
    """Lesions that are segments of their own; None for one segment of all tumours."""

    def described(self, algorithm: Algorithm) -> list[hd.seg.SegmentDescription]:
        """Return the items of the Segment Sequence (0062,0002)."""
        first = 2 if self.liver else 1
        items = [describe(Label.LIVER, 1, algorithm)] if self.liver else []
        if self.lesions is not None:
            own = enumerate(self.lesions)
            return items + [describe_lesion(first + i, i, each, algorithm) for i, each in own]
        if self.numbers.max() >= first:
            items.append(describe(Label.TUMOUR, first, algorithm))
        return items


def _segments(label_map: LabelMap, lesions: Sequence[Tracking] | None) -> _Segments:
    """Number the segments from 1 without a gap; none of them is empty.

    PS3.3 C.8.20.4 asks for the numbering. OHIF hangs on an empty segment (OHIF/Viewers#3991).
    """
    liver, tumour = (_has(label_map, label) for label in (Label.LIVER, Label.TUMOUR))
    if not liver and not tumour:
        raise NothingFound("no voxel was marked as liver; check that the series shows the abdomen")
    labels = (label_map if lesions is None else separate_lesions(label_map)).labels
    # Tumours fill all of it: they move down to 1, as numbers must start there.
    if not liver:
        labels = np.where(labels > 0, labels - 1, 0).astype(labels.dtype)
    title = "+".join(["liver"] * liver + ["tumours"] * tumour)
    return _Segments(labels, title, liver, lesions)


def _without_background(seg: Dataset) -> None:
    """Drop the segment 0 that highdicom (0.28.2) puts into every LABELMAP.

    Segment Number starts at 1 (PS3.3 C.8.20.4), and the item shifts OHIF's colours by one.
    """
    seg.SegmentSequence = [item for item in seg.SegmentSequence if item.SegmentNumber > 0]


def _has(label_map: LabelMap, label: Label) -> bool:
    return any(label in plane for plane in label_map.labels)  # stops at the first


def _as_source_lies(numbers: NDArray[Any], label_map: LabelMap, frame: Frame) -> hd.Volume:
    """Turn segment numbers so that slices, rows and columns run as those of the sorted sources.

    highdicom (0.28.2) refuses a sheared volume and has no uneven one. It gets their slices straight
    above one another and evenly; `take_positions` then puts each frame where its source is.
    """
    grid = label_map.geometry
    affine = grid.affine.copy()
    normal = np.cross(affine[:3, 1], affine[:3, 2])
    # The side to which the slices run, so that the grid keeps its handedness.
    normal *= np.sign(normal @ affine[:3, 0]) / np.linalg.norm(normal)
    affine[:3, 0] = normal * grid.spacing[0]
    volume = hd.Volume(
        numbers,
        affine,
        "PATIENT",
        frame_of_reference_uid=grid.frame_of_reference,
    )
    # Cosines between the source's axes (rows of the matrix) and the volume's (columns): each takes
    # the one that it agrees with most.
    agreement = axes_of(frame) @ np.stack(volume.unit_vectors(), axis=1)
    axes = [int(axis) for axis in np.abs(agreement).argmax(axis=1)]
    backward = [i for i, axis in enumerate(axes) if agreement[i, axis] < 0]
    volume = volume.permute_spatial_axes(axes)
    return volume.flip_spatial(backward) if backward else volume


def _without_empty_ends(volume: hd.Volume) -> tuple[int, hd.Volume]:
    """Leave out the slices before and behind the labels; highdicom would look at each.

    Returns:
        How many slices lie before the labels, and the volume without the empty ones.
    """
    labelled = np.flatnonzero(volume.array.any(axis=(1, 2)))
    first = int(labelled[0])
    return first, volume[first : int(labelled[-1]) + 1]


def _derivation(algorithm: Algorithm, seg: Dataset) -> str:
    made = f"Marked automatically by {algorithm.name} {algorithm.version}."
    if seg.LossyImageCompression == "01":
        return f"{made} Source pixels were lossy compressed."
    return made
