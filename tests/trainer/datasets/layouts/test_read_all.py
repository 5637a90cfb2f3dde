import logging

import numpy as np
import pytest

from engine.volume import Geometry, Label, Volume
from trainer.datasets.cases.case import Case, to_slices
from trainer.datasets.cases.slice_resizing import AIR_HU, fit_square
from trainer.datasets.cases.target import Target
from trainer.datasets.layouts import read_all as reading
from trainer.datasets.layouts.found import Found
from trainer.datasets.layouts.read_all import read_cases, read_slices
from trainer.errors import BadCase


def make_case(shape=(5, 64, 64), spacing=(2.0, 0.8, 0.8), patient="anna") -> Case:
    """A case with a square of liver in its middle, tumours not drawn in it."""
    hu = np.full(shape, 40, np.int16)
    target = np.zeros(shape, np.uint8)
    target[1:4, shape[1] // 4 : -shape[1] // 4, shape[2] // 4 : -shape[2] // 4] = (
        Target.LIVER_OR_TUMOUR
    )
    hu[target > 0] = 110
    geometry = Geometry(shape, np.diag([*spacing, 1.0]), "1.2.3")
    return Case(patient, "made", f"{patient}-1", Volume(hu, geometry), target)


@pytest.mark.parametrize("side", [32, 64, 128])
def test_slices_keep_the_field_of_view_and_the_share_of_liver(side):
    case = make_case()
    slices = to_slices([case], side)
    assert slices.hu.shape == (5, side, side)
    assert slices.pixel_mm * side == pytest.approx(64 * 0.8)
    assert slices.liver_pixels / side**2 == pytest.approx([0, 0.25, 0.25, 0.25, 0], abs=0.02)
    assert slices.position_mm == pytest.approx([0, 2, 4, 6, 8])
    assert set(slices.series) == {"anna-1"}


def test_a_slice_of_the_right_side_is_the_volumes_own():
    case = make_case()
    assert np.array_equal(to_slices([case], 64).hu, case.volume.hu)


def test_beside_a_slice_that_is_no_square_lies_air():
    hu = np.full((1, 40, 80), 50, np.int16)
    square, target, pixel_mm = fit_square(hu, np.ones_like(hu, np.uint8), (1.0, 1.0), 40)
    assert pixel_mm == 2.0
    assert np.all(square[0, 11:29] == 50)
    assert np.all(square[0, :9] == AIR_HU)
    assert np.all(target[0, :9] == Target.BACKGROUND)
    assert np.all(target[0, 11:29] == Target.LIVER)


def test_slices_of_a_case_can_be_taken_some_way_apart():
    slices = to_slices([make_case(), make_case(patient="bert")], 64, step_mm=4)
    assert slices.position_mm.tolist() == [0, 4, 8, 0, 4, 8]


def test_a_case_whose_labels_lie_on_another_grid_is_refused():
    case = make_case()
    with pytest.raises(BadCase, match=r"labels of \(4, 64, 64\)"):
        Case("anna", "made", "1", case.volume, case.target[1:])


def test_the_truth_of_a_case_has_the_engines_labels():
    case = make_case()
    assert not case.tumours_drawn
    assert set(np.unique(case.truth.labels)) == {Label.BACKGROUND, Label.LIVER}


def test_a_broken_case_is_named_and_left_out(tmp_path, monkeypatch, caplog):
    def broken() -> Case:
        raise BadCase("bert: the file breaks off")

    found = [Found("made", "bert", tmp_path, broken), Found("made", "anna", tmp_path, make_case)]
    monkeypatch.setattr(reading, "FINDERS", (lambda files: iter(found),))
    with caplog.at_level(logging.WARNING):
        cases = list(read_cases(tmp_path))
    assert [case.patient for case in cases] == ["anna"]
    assert "bert: the file breaks off" in caplog.text


def test_slices_of_files_come_at_the_side_that_is_asked_for(data_folder):
    small, whole = read_slices(data_folder, 128), read_slices(data_folder)
    assert small.side == 128
    assert np.nanmax(small.pixel_mm) == 3.0
    assert small.liver_pixels.sum() * 4 == pytest.approx(whole.liver_pixels.sum(), rel=0.02)
