"""Labels of a series by a shadow model: of the stacks of which the serving model's are kept."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from dicom_node.corrections.kept_labels import SUFFIX, KeptLabels
from dicom_node.pipeline.process import stack_file
from dicom_node.pipeline.segmenter import SegmentationSetup
from dicom_node.pipeline.side_files import beside
from dicom_node.series.reading import read_files
from dicom_node.series.stacks import find_stacks
from dicom_node.series.volume import stack_volume
from engine.segmentation.segment import segment


def shadow_labels(
    paths: Sequence[Path], target: Path, method: SegmentationSetup
) -> Iterator[tuple[Path, KeptLabels]]:
    """Yield the kept labels of each stack with a result, and what the shadow finds there.

    Args:
        paths: the instances, in any order.
        target: file of the SEG of the job.
        method: device, model and rules.

    Raises:
        UnsupportedSeries, DeviceFailed: as `process`.
    """
    read = read_files(
        paths, derive_frame_of_reference=method.derive_frame_of_reference, pixels=False
    )
    for stack in find_stacks(read.instances, derived_axial=method.rules.derived_axial).stacks:
        kept = beside(stack_file(target, stack.key), SUFFIX)
        if kept.exists():
            found = segment(stack_volume(stack), method.device).label_map
            yield kept, method.kept(found, stack.instances[0])
