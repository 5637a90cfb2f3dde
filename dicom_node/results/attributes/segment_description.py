"""Descriptions of segments: names, codes, colours and the algorithm that drew them."""

from dataclasses import dataclass, replace

import highdicom as hd
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from dicom_node.results.attributes.tracking import Tracking
from engine.volume import Label


@dataclass(frozen=True)
class Algorithm:
    """The model and the device that made a label map."""

    name: str
    version: str
    digest: str
    """SHA-256 of the model folder's manifest, in hexadecimal."""
    device: str = ""
    """Name of the device that computed it, with its precision or plan."""


@dataclass(frozen=True)
class SegmentStyle:
    """One kind of segment."""

    name: str
    category: Code
    """PS3.16, CID 7150."""
    kind: Code
    """PS3.16, CID 7151."""
    region: Code | None
    """Anatomic region, unless `kind` names it."""
    colour: hd.color.CIELabColor
    meaning: str


FINDINGS = {
    Label.LIVER: SegmentStyle(
        "Liver",
        codes.SCT.AnatomicalStructure,
        codes.SCT.Liver,
        None,
        hd.color.CIELabColor.from_rgb(221, 130, 101),
        "Liver without the tumours that are marked in it",
    ),
    Label.TUMOUR: SegmentStyle(
        "Tumour",
        codes.SCT.MorphologicallyAbnormalStructure,
        codes.SCT.Neoplasm,
        codes.SCT.Liver,
        hd.color.CIELabColor.from_rgb(255, 214, 10),
        "Tumours in the liver; no voxel of them is in the segment Liver",
    ),
}
"""Description of each label."""

LESION_COLOURS = (
    (255, 214, 10),
    (102, 194, 255),
    (255, 107, 107),
    (140, 230, 120),
    (214, 130, 255),
    (255, 160, 60),
    (90, 220, 200),
    (255, 150, 200),
)
"""RGB of lesions that are segments or regions of their own, in turn."""


def lesion_colour(index: int) -> tuple[int, int, int]:
    """Return the RGB colour of a lesion, the largest of which has index 0."""
    # Of more than eight lesions some share a colour; their names and numbers still differ.
    return LESION_COLOURS[index % len(LESION_COLOURS)]


def describe_lesion(
    number: int, index: int, tracking: Tracking, algorithm: Algorithm
) -> hd.seg.SegmentDescription:
    """Return the item for one lesion.

    Args:
        number: of its segment.
        index: of the lesion, 0 for the largest.
        tracking: name and UID of the lesion.
        algorithm: the model that marked it.
    """
    finding = replace(
        FINDINGS[Label.TUMOUR],
        name=tracking.identifier,
        colour=hd.color.CIELabColor.from_rgb(*lesion_colour(index)),
        meaning="One tumour in the liver; no voxel of it is in the segment Liver",
    )
    return _describe(number, finding, algorithm, tracking)


def describe(label: Label, number: int, algorithm: Algorithm) -> hd.seg.SegmentDescription:
    """Return the item of the Segment Sequence (0062,0002) for `label`."""
    return _describe(number, FINDINGS[label], algorithm)


def _describe(
    number: int, finding: SegmentStyle, algorithm: Algorithm, tracking: Tracking | None = None
) -> hd.seg.SegmentDescription:
    description = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=finding.name,
        segmented_property_category=finding.category,
        segmented_property_type=finding.kind,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=algorithm.name,
            version=algorithm.version,
            family=codes.DCM.ArtificialIntelligence,
            source="Hepar",
            parameters=_parameters(algorithm),
        ),
        anatomic_regions=[finding.region] if finding.region else None,
        display_color=finding.colour,
        tracking_id=tracking.identifier if tracking else None,
        tracking_uid=tracking.uid if tracking else None,
    )
    # highdicom (0.28.2) has no argument for it
    description.SegmentDescription = finding.meaning
    return description


def _parameters(algorithm: Algorithm) -> dict[str, str]:
    stated = {"model-sha256": algorithm.digest}
    return {**stated, "device": algorithm.device} if algorithm.device else stated
