"""From instances to a volume, and the geometry contract; also the trainer's reader of DICOM."""

from dicom_node.errors import UnsupportedSeries
from dicom_node.series.reading import read_series
from dicom_node.series.volume import stack_drawn, to_volume, volume_frames

__all__ = ["UnsupportedSeries", "read_series", "stack_drawn", "to_volume", "volume_frames"]
