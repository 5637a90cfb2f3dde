"""A result on a small series, and SEGs that a person or a machine drew on it."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import highdicom as hd
import numpy as np
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid
from pynetdicom import AE
from pynetdicom.sop_class import SegmentationStorage

from dicom_node.corrections.correction import Correction, Scanner
from dicom_node.corrections.kept_labels import KeptLabels
from dicom_node.series import to_volume
from engine.volume import Label, LabelMap
from tests.dicom_node.drawing import seg_identity

SCANNER = Scanner("Maker", "Model 1", "CT-2")
KINDS = {Label.LIVER: codes.SCT.Liver, Label.TUMOUR: codes.SCT.Neoplasm}


@dataclass(frozen=True, eq=False)
class Drawn:
    """A series, and what the node found on it."""

    sources: list[Dataset]
    result: LabelMap

    @property
    def kept(self) -> KeptLabels:
        return KeptLabels(self.result, SCANNER, "toy 1", "ab")

    def seg(
        self, labels: np.ndarray, marks=(Label.LIVER, Label.TUMOUR), by: str = "MANUAL"
    ) -> Dataset:
        """A SEG of `labels`, whose axes are those of the result."""
        grid = self.result.geometry
        masks = np.stack([labels == mark for mark in marks], axis=-1).astype(np.uint8)
        numbers = list(range(1, len(marks) + 1))
        volume = hd.Volume(
            masks,
            grid.affine,
            "PATIENT",
            frame_of_reference_uid=grid.frame_of_reference,
            channels={hd.ChannelDescriptor("SegmentNumber"): numbers},
        )
        return hd.seg.Segmentation(
            source_images=self.sources,
            pixel_array=volume,
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[
                _described(number, mark, by) for number, mark in zip(numbers, marks, strict=True)
            ],
            **seg_identity(),
        )


def _described(number: int, mark: Label, by: str) -> hd.seg.SegmentDescription:
    algorithm = hd.AlgorithmIdentificationSequence("x", codes.DCM.ArtificialIntelligence, "1")
    return hd.seg.SegmentDescription(
        number,
        mark.name.title(),
        codes.SCT.Organ,
        KINDS[mark],
        hd.seg.SegmentAlgorithmTypeValues[by],
        algorithm_identification=None if by == "MANUAL" else algorithm,
    )


def drawn_on(sources: list[Dataset]) -> Drawn:
    """A result of a liver with a tumour on a series of at least 6 slices of 16x16."""
    volume = to_volume(sources)
    labels = np.zeros(volume.hu.shape, np.uint8)
    labels[1:5, 2:12, 2:12] = Label.LIVER
    labels[2:4, 4:6, 4:6] = Label.TUMOUR
    return Drawn(sources, LabelMap(labels, volume.geometry))


def correction(**changes: Any) -> Correction:
    """A correction that counts, changed."""
    made = Correction(
        uid=generate_uid(),
        series_uid="1.2.3",
        arrived=datetime(2026, 11, 2, tzinfo=UTC),
        job=generate_uid(),
        written="20261102101010",
        scanner=SCANNER,
        model="toy 1",
        digest="ab",
        dice={"liver": 0.9, "tumour": 0.5},
    )
    return replace(made, **changes)


def correct(address: tuple[str, int], seg: Dataset) -> None:
    """Send a SEG back as a person's."""
    seg.SOPInstanceUID = seg.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    seg.SeriesInstanceUID = generate_uid()
    for each in seg.SegmentSequence:
        each.SegmentAlgorithmType = "MANUAL"
    ae = AE("OHIF")
    ae.add_requested_context(SegmentationStorage)
    association = ae.associate(*address, ae_title="HEPAR")
    assert association.send_c_store(seg).Status == 0
    association.release()
