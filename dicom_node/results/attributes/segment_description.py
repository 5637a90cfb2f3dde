"""What each segment is called: codes, colours and the algorithm that drew it."""

from dataclasses import dataclass, replace

import highdicom as hd
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from dicom_node.results.attributes.tracking import Tracking
from engine.volume import Label


@dataclass(frozen=True)
class Algorithm:
    """The model that made a label map, as the SEG names it."""

    name: str
    version: str
    digest: str
    """SHA-256 of the model folder's manifest, in hexadecimal."""
    device: str = ""
    """What computed it; names the plan, where it was one."""


@dataclass(frozen=True)
class SegmentStyle:
    """One kind of segment."""

    name: str
    category: Code
    """PS3.16, CID 7150."""
    kind: Code
    """PS3.16, CID 7151."""
    region: Code | None
    """Where it lies, unless `kind` says so."""
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
"""What a label means outside."""


LESION_COLOURS = tuple(
    hd.color.CIELabColor.from_rgb(*rgb)
    for rgb in (
        (255, 214, 10),
        (102, 194, 255),
        (255, 107, 107),
        (140, 230, 120),
        (214, 130, 255),
        (255, 160, 60),
        (90, 220, 200),
        (255, 150, 200),
    )
)
"""Of lesions that are segments of their own, in turn."""


def describe_lesion(
    number: int, tracking: Tracking, algorithm: Algorithm
) -> hd.seg.SegmentDescription:
    """Return the item for one lesion; its segment follows that of the liver."""
    colour = LESION_COLOURS[(number - 1) % len(LESION_COLOURS)]
    finding = replace(
        FINDINGS[Label.TUMOUR],
        name=tracking.identifier,
        colour=colour,
        meaning="One tumour in the liver; no voxel of it is in the segment Liver",
    )
    description = _describe(Label.LIVER + number, finding, algorithm)
    description.TrackingID, description.TrackingUID = tracking.identifier, tracking.uid
    return description


def describe(label: Label, algorithm: Algorithm) -> hd.seg.SegmentDescription:
    """Return the item of the Segment Sequence (0062,0002) for `label`."""
    return _describe(label.value, FINDINGS[label], algorithm)


def _describe(
    number: int, finding: SegmentStyle, algorithm: Algorithm
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
    )
    description.SegmentDescription = finding.meaning
    return description


def _parameters(algorithm: Algorithm) -> dict[str, str]:
    said = {"model-sha256": algorithm.digest}
    return {**said, "device": algorithm.device} if algorithm.device else said
