"""Labels drawn on a series made in code, and the objects made of them."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import highdicom as hd
import numpy as np
from pydicom import Dataset
from pydicom.uid import generate_uid

from dicom_node.results.attributes.model_run import ModelRun
from dicom_node.results.attributes.segment_description import Algorithm
from dicom_node.results.report import to_report
from dicom_node.results.seg import to_seg
from dicom_node.series.volume import to_volume
from engine.findings.measure import Measurements, measure
from engine.findings.quality import Quality
from engine.volume import Label, LabelMap, Volume

ALGORITHM = Algorithm("base", "1.0", "ab" * 32)
MADE_AT = datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)
RUN = ModelRun(ALGORITHM, MADE_AT)


@dataclass(frozen=True, eq=False)
class Case:
    """A series, labels on it, and what was measured."""

    sources: list[Dataset]
    volume: Volume
    label_map: LabelMap
    measured: Measurements

    def seg(self, **options) -> hd.seg.Segmentation:
        return to_seg(self.label_map, self.sources, **{"run": RUN, **options})

    def report(self, seg=None, quality=Quality()) -> hd.sr.Comprehensive3DSR:  # noqa: B008
        return to_report(
            self.measured,
            quality,
            seg or self.seg(),
            self.sources,
            run=RUN,
        )


def draw_case(sources: list[Dataset], lesions: int = 3) -> Case:
    """Draw a lopsided liver with lesions of different size in it, none of which is alike."""
    volume = to_volume(sources)
    rows, columns = volume.geometry.shape[1:]
    labels = np.zeros(volume.geometry.shape, np.uint8)
    labels[2:-1, rows // 4 : rows - 3, columns // 6 : columns - 4] = Label.LIVER
    labels[2, rows // 4, columns // 6 :] = Label.LIVER
    for index, (place, size) in enumerate([((3, 6), 4), ((4, 10), 3), ((5, 6), 2)][:lesions]):
        top, left = place[1], columns // 6 + 1 + 4 * index
        labels[place[0] : place[0] + 2, top : top + 2, left : left + size - 1] = Label.TUMOUR
    label_map = LabelMap(labels, volume.geometry)
    return Case(sources, volume, label_map, measure(volume, label_map))


def seg_identity() -> dict[str, Any]:
    """Arguments of highdicom's SEG that say which object it is and what made it."""
    return {
        "series_instance_uid": generate_uid(),
        "series_number": 2,
        "sop_instance_uid": generate_uid(),
        "instance_number": 1,
        "manufacturer": "Test",
        "manufacturer_model_name": "Test",
        "software_versions": "1",
        "device_serial_number": "1",
    }
