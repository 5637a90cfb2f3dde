"""Series made of valid parts in wrong combinations: segmented in place, or refused with a reason.

200 of them in the suite; `HEPAR_SERIES=2000` tries more, as `make soak` does.
"""

import os
from copy import deepcopy

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dicom_node.errors import UnsupportedSeries
from dicom_node.pipeline.plausible_units import require_hounsfield
from dicom_node.results.attributes.model_run import ModelRun
from dicom_node.results.attributes.segment_description import Algorithm
from dicom_node.results.seg import encode, to_seg
from dicom_node.series.kinds import Handling
from dicom_node.series.stacks import find_stacks
from dicom_node.series.volume import stack_volume
from dicom_node.verify.seg import verify_seg
from engine.volume import Label, LabelMap
from tests.conftest import make_ct_series, make_enhanced_ct

EXAMPLES = int(os.environ.get("HEPAR_SERIES", "200"))
ROWS, COLUMNS, SPACING = 12, 14, (3.0, 1.5, 1.2)
MARKER_HU = 77
RUN = ModelRun(Algorithm("marker", "1", "ab" * 32))


@st.composite
def series(draw):
    """Instances with one marked pixel each, and where each marked pixel lies in the patient."""
    count = draw(st.integers(2, 9))
    instances = make_ct_series(count, ROWS, COLUMNS, SPACING)
    parts = (order, gap, spacing, orientation, tilt, slope, padding, phase, odd)
    marks = {}
    for index, instance in enumerate(instances):
        mark = draw(st.tuples(st.integers(0, ROWS - 1), st.integers(0, COLUMNS - 1)))
        _draw_marker(instance, mark)
        marks[str(instance.SOPInstanceUID)] = mark
        instance.InstanceNumber = index
    for part in draw(st.lists(st.sampled_from(parts), max_size=4, unique=True)):
        instances = part(draw, instances, marks)
    if draw(st.integers(0, 4)) == 0:
        instances = multi_frame(draw, instances, marks)
    return instances, marks


def _draw_marker(instance, mark):
    hu = np.full((ROWS, COLUMNS), -1000, np.int32)
    hu[2:-2, 2:-2] = 40
    hu[mark] = MARKER_HU
    instance.PixelData = (hu + 1024).astype(np.uint16).tobytes()


def order(draw, instances, marks):
    return draw(st.permutations(instances))


def gap(draw, instances, marks):
    left = set(draw(st.lists(st.integers(0, len(instances) - 1), max_size=3)))
    kept = [each for index, each in enumerate(instances) if index not in left]
    return kept or instances[:1]


def spacing(draw, instances, marks):
    steps = draw(st.lists(st.sampled_from([1.0, 3.0, 3.05, 6.0, 40.0]), min_size=12, max_size=12))
    for instance, height in zip(instances, np.cumsum(steps), strict=False):
        x, y, _ = instance.ImagePositionPatient
        instance.ImagePositionPatient = [x, y, float(height)]
    return instances


def orientation(draw, instances, marks):
    """Turn some or all of the slices about the long axis, or lay them on their side."""
    cosines = draw(
        st.sampled_from(
            [[0, 1, 0, -1, 0, 0], [-1, 0, 0, 0, 1, 0], [1, 0, 0, 0, -1, 0], [1, 0, 0, 0, 0, -1]]
        )
    )
    for instance in draw(st.sampled_from([instances, instances[:1], instances[::2]])):
        instance.ImageOrientationPatient = cosines
    return instances


def tilt(draw, instances, marks):
    lean = draw(st.floats(-0.4, 0.4))
    for instance in instances:
        x, y, z = map(float, instance.ImagePositionPatient)
        instance.ImagePositionPatient = [x, round(y + lean * z, 4), z]
    return instances


def slope(draw, instances, marks):
    """Store the same values by another rescaling, in some or all slices."""
    for instance in draw(st.sampled_from([instances, instances[::2]])):
        stored = np.frombuffer(instance.PixelData, np.uint16).astype(np.int32)
        instance.PixelData = (2 * stored).astype(np.uint16).tobytes()
        instance.RescaleSlope = "0.5"
    return instances


def padding(draw, instances, marks):
    value = draw(st.sampled_from([0, 63536, 65535]))
    for instance in instances:
        instance.PixelPaddingValue = value
        stored = np.frombuffer(instance.PixelData, np.uint16).reshape(ROWS, COLUMNS).copy()
        air = stored * float(instance.RescaleSlope) - 1024 < -900
        instance.PixelData = np.where(air, value, stored).astype(np.uint16).tobytes()
    return instances


def phase(draw, instances, marks):
    """Add the same slices once more: another phase, at the same or at interleaved places."""
    late = deepcopy(instances)
    shift = draw(st.sampled_from([0.0, 1.5, 0.7, 200.0]))
    tag = draw(st.sampled_from(["AcquisitionNumber", "KVP", "AcquisitionTime", None]))
    for instance in late:
        old = str(instance.SOPInstanceUID)
        instance.SOPInstanceUID = f"{old[:60]}.2"
        marks[str(instance.SOPInstanceUID)] = marks[old]
        x, y, z = map(float, instance.ImagePositionPatient)
        instance.ImagePositionPatient = [x, y, z + shift]
        if tag:
            setattr(instance, tag, {"AcquisitionTime": "111111"}.get(tag, 2))
    return [*instances, *late]


def odd(draw, instances, marks):
    """Let one slice be unlike the others."""
    instance = draw(st.sampled_from(instances))
    keyword, value = draw(
        st.sampled_from(
            [
                ("PatientID", "OTHER"),
                ("PatientName", "Doe^Jane^^^"),
                ("FrameOfReferenceUID", "2.25.7"),
                ("PixelSpacing", [9, 9]),
                ("Modality", "MR"),
                ("ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"]),
                ("HighBit", 12),
                ("RescaleIntercept", ""),
                ("AcquisitionNumber", 9),
            ]
        )
    )
    setattr(instance, keyword, value)
    return instances


def multi_frame(draw, instances, marks):
    """Put the slices into one Enhanced CT instance, in the order they are in."""
    if any("frame" in str(key) for key in marks) or len({id(each) for each in instances}) < 2:
        return instances
    if any(each.get("RescaleIntercept") in ("", None) for each in instances):
        return instances
    whole = make_enhanced_ct(instances)
    for number, each in enumerate(instances, 1):
        marks[f"{whole.SOPInstanceUID} frame {number}"] = marks[str(each.SOPInstanceUID)]
    return [whole]


@given(series())
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=EXAMPLES == 200,
    suppress_health_check=list(HealthCheck),
    database=None,
)
@pytest.mark.filterwarnings("ignore")
def test_any_series_is_segmented_in_place_or_refused_with_a_reason(made):
    instances, marks = made
    division = find_stacks(instances)
    for stack in division.stacks:
        if stack.handling() is Handling.REFUSE:
            assert stack.found.detail
            assert stack.found.kind.remedy in str(stack.found)
            continue
        try:
            volume = stack_volume(stack)
            require_hounsfield(volume)
        except UnsupportedSeries as refused:
            reason = str(refused)
        else:
            _require_marks(stack, volume, marks)
            continue
        assert reason


def _require_marks(stack, volume, marks):
    """Mark what has the marker's density, and find it in the SEG where it was drawn."""
    labels = np.where(volume.hu == MARKER_HU, np.uint8(Label.LIVER), np.uint8(0))
    assert labels.any(axis=(1, 2)).all()  # otherwise its values are no longer those drawn
    label_map = LabelMap(labels, volume.geometry)
    seg = to_seg(label_map, stack.instances, run=RUN, frames=stack.frames)
    verify_seg(encode(seg), stack.instances, label_map)
    planes = seg.pixel_array.reshape(-1, ROWS, COLUMNS)
    names = {(frame.text("SOPInstanceUID"), frame.number): frame for frame in stack.frames}
    seen = 0
    for groups, mask in zip(seg.PerFrameFunctionalGroupsSequence, planes, strict=True):
        image = groups.DerivationImageSequence[0].SourceImageSequence[0]
        key = str(image.ReferencedSOPInstanceUID), int(image.get("ReferencedFrameNumber") or 1)
        frame = names[key]
        assert [tuple(map(int, at)) for at in np.argwhere(mask)] == [marks[frame.name]]
        place = groups.PlanePositionSequence[0].ImagePositionPatient
        assert list(map(float, place)) == pytest.approx(
            frame.numbers("ImagePositionPatient", 3), abs=1e-6
        )
        seen += 1
    assert seen == len(stack.frames)
