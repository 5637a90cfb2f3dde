from pathlib import Path

import numpy as np
import pytest

from dicom_node.results.phantom import write_truth
from engine.phantom import Phantom
from engine.volume import Label
from trainer.datasets.cases.case import Case
from trainer.errors import BadData
from trainer.evaluation.run.seg_objects import SegFile, find_segs, read_seg, seg_of


@pytest.fixture
def case(phantom: Phantom) -> Case:
    return Case("p", "somewhere", "1.2.3", phantom.volume, np.zeros_like(phantom.truth.labels))


def seg(series: str, frame: str) -> SegFile:
    return SegFile(Path(f"{series}.dcm"), series, frame)


def test_a_seg_belongs_to_the_series_that_it_refers_to(case):
    frame = case.volume.geometry.frame_of_reference
    segs = [seg("1.2.2", frame), seg("1.2.3", frame), seg("1.2.4", frame)]
    assert seg_of(case, segs) is segs[1]


def test_where_series_have_new_uids_the_only_seg_in_the_frame_of_reference_is_taken(case):
    near = seg("9.9", case.volume.geometry.frame_of_reference)
    assert seg_of(case, [seg("1.2.4", "1.1"), near]) is near
    assert seg_of(case, [near, seg("9.8", near.frame_of_reference)]) is None
    assert seg_of(case, [seg("1.2.4", "1.1")]) is None


def test_two_segs_of_one_series_are_refused(phantom, tmp_path):
    for name in ("one", "other"):
        write_truth(phantom, "5", tmp_path / name)
    with pytest.raises(BadData, match=r"truth\.dcm and truth\.dcm refer to one series"):
        find_segs(tmp_path)


def test_what_is_drawn_as_liver_and_as_tumour_is_tumour(phantom, truth, monkeypatch):
    labels = phantom.truth.labels
    drawn = {Label.TUMOUR: labels == Label.TUMOUR, Label.LIVER: labels > 0}
    monkeypatch.setattr("trainer.evaluation.run.seg_objects.segmentation_masks", lambda *of: drawn)
    found = read_seg(truth / "truth.dcm", phantom.truth.geometry)
    np.testing.assert_array_equal(found.labels, labels)
