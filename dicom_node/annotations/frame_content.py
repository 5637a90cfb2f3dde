"""Frames of a SEG without dimension indices, as OHIF saves them."""

from copy import deepcopy

from pydicom import Dataset
from pydicom.datadict import tag_for_keyword

INDICES = "DimensionIndexSequence"
SEGMENT, SEGMENT_GROUP = "ReferencedSegmentNumber", "SegmentIdentificationSequence"


def located_by_position(seg: Dataset) -> Dataset:
    """Return a SEG whose frames can be told apart: by their indices, else by their positions.

    OHIF 3.13 lists dimensions (PS3.3 C.7.6.17) and leaves out FrameContentSequence, which holds
    each frame's place in them. Without the list, highdicom goes by each frame's own position; the
    segment of a frame, where it has one, has to be a dimension. The given object stays as it is.
    """
    frames = seg.get("PerFrameFunctionalGroupsSequence") or ()
    if INDICES not in seg or all("FrameContentSequence" in frame for frame in frames):
        return seg
    located = deepcopy(seg)  # a shallow copy shares its elements
    del located[INDICES]
    frames = located.PerFrameFunctionalGroupsSequence
    # Without it the SEG is a label map, whose frames show all segments.
    if all(SEGMENT_GROUP in frame for frame in frames):
        located.DimensionIndexSequence = [_segment_dimension()]
        for frame in frames:
            frame.FrameContentSequence = [_place(frame.SegmentIdentificationSequence[0])]
    return located


def _segment_dimension() -> Dataset:
    dimension = Dataset()
    dimension.DimensionIndexPointer = tag_for_keyword(SEGMENT)
    dimension.FunctionalGroupPointer = tag_for_keyword(SEGMENT_GROUP)
    return dimension


def _place(segment: Dataset) -> Dataset:
    content = Dataset()
    content.DimensionIndexValues = [int(segment.ReferencedSegmentNumber)]
    return content
