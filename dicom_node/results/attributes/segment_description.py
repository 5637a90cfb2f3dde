"""Descriptions of segments: names, codes, colours and the algorithm that drew them."""

from colorsys import hsv_to_rgb
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
    remark: str = ""
    """Sentence for a reader of the result on why this model made it; empty for the usual one."""

    @property
    def model(self) -> str:
        """Name and version of the model."""
        return f"{self.name} {self.version}"


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
"""RGB of the largest lesions that are segments or regions of their own, chosen for contrast."""

GOLDEN = (5**0.5 - 1) / 2
"""Part of the colour circle from one further lesion to the next: none comes near another soon."""
SATURATIONS, BRIGHTNESSES = (0.55, 0.85, 0.4), (1.0, 0.8)
"""Of further lesions, each for eight of them in turn."""


def lesion_colour(index: int) -> tuple[int, int, int]:
    """Return the RGB colour of a lesion, the largest of which has index 0.

    Hundreds of lesions have a colour each; none is that of the liver.
    """
    if index < len(LESION_COLOURS):
        return LESION_COLOURS[index]
    further = index - len(LESION_COLOURS)
    eights = further // 8
    saturation = SATURATIONS[eights % len(SATURATIONS)]
    brightness = BRIGHTNESSES[eights // len(SATURATIONS) % len(BRIGHTNESSES)]
    red, green, blue = hsv_to_rgb(further * GOLDEN % 1, saturation, brightness)
    return round(255 * red), round(255 * green), round(255 * blue)


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
