import numpy as np
import pytest
import torch
from monai.metrics import compute_dice, compute_iou
from monai.metrics.confusion_matrix import compute_confusion_matrix_metric, get_confusion_matrix

from engine.findings.overlap import Overlap, overlap
from engine.volume import Label
from trainer.datasets.cases.target import Target
from trainer.errors import BadData
from trainer.evaluation.metrics.exam import Exam, Piece, Structure
from trainer.evaluation.metrics.overlap import Tally
from trainer.evaluation.metrics.scores import judge
from trainer.evaluation.metrics.surfaces import nearness

SPACING = (2.0, 1.0, 1.0)


def piece(target, found, spacing_mm=SPACING) -> Piece:
    target, found = np.asarray(target, np.uint8), np.asarray(found, np.uint8)
    return Piece(np.zeros(target.shape, np.int16), target, found, spacing_mm)


def box(*bounds, shape=(12, 20, 20)) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    mask[tuple(slice(*each) for each in bounds)] = 1
    return mask


@pytest.mark.parametrize("seed", range(3))
def test_overlaps_are_those_of_monai(seed):
    random = np.random.default_rng(seed)
    found, true = random.random((2, 9, 9, 9)) < 0.3
    ours = overlap(found, true)
    pair = [torch.from_numpy(mask)[None, None].float() for mask in (found, true)]
    counts = get_confusion_matrix(*pair, include_background=True)
    assert ours.dice == pytest.approx(float(compute_dice(*pair)))
    assert ours.iou == pytest.approx(float(compute_iou(*pair)))
    for name, value in {
        "precision": ours.precision,
        "sensitivity": ours.recall,
        "accuracy": ours.accuracy,
    }.items():
        assert value == pytest.approx(float(compute_confusion_matrix_metric(name, counts)))


def test_the_same_surface_is_as_near_as_can_be():
    liver = box((3, 8), (4, 15), (4, 15)) > 0
    same = nearness(liver, liver, SPACING, 2)
    assert (same.nsd, same.hd95_mm) == (1, 0)


@pytest.mark.parametrize(("tolerance_mm", "nsd"), [(3.5, 1), (1, 0)])
def test_a_shell_2_mm_further_out_is_within_a_tolerance_above_and_not_below(tolerance_mm, nsd):
    inner = box((4, 8), (6, 14), (6, 14)) > 0
    outer = box((3, 9), (4, 16), (4, 16)) > 0
    found = nearness(outer, inner, SPACING, tolerance_mm)
    assert found.nsd == pytest.approx(nsd, abs=0.02)
    assert found.hd95_mm == pytest.approx(np.sqrt(8), abs=0.9)  # 2 mm at a face, more at a corner


def test_a_speck_far_away_is_no_part_of_the_95th_percentile():
    liver = box((3, 8), (4, 15), (4, 15)) > 0
    speckled = liver | (box((11, 12), (19, 20), (19, 20)) > 0)
    found = nearness(speckled, liver, SPACING, 2)
    assert found.hd95_mm == 0
    assert 0.9 < found.nsd < 1


def test_on_a_slice_the_surface_is_the_outline():
    one, other = (box((2, 10), (a, b), shape=(12, 20)) > 0 for a, b in ((2, 12), (2, 15)))
    found = nearness(one, other, (1.0, 1.0), 1)
    assert found.hd95_mm == 3
    assert 0.5 < found.nsd < 0.9


def test_a_surface_that_is_missed_has_no_distance_and_no_nearness():
    none, liver = np.zeros((12, 20, 20), bool), box((3, 8), (4, 15), (4, 15)) > 0
    missed = nearness(none, liver, SPACING, 2)
    assert missed.nsd == 0
    assert np.isnan(missed.hd95_mm)
    assert np.isnan(nearness(none, none, SPACING, 2).nsd)


def test_volumes_are_in_millilitres_and_the_liver_has_its_tumours():
    target = box((3, 8), (4, 14), (4, 14)) + box((4, 6), (5, 8), (5, 8))
    scores = judge(Exam("one", (piece(target, target.clip(max=1)),)), 2)
    liver, tumour = scores.of[Structure.LIVER], scores.of[Structure.TUMOUR]
    assert liver.true_ml == pytest.approx(5 * 10 * 10 * 2 / 1000)
    assert liver.volume_error_ml == 0
    assert liver.overlap.dice == liver.nsd == 1
    assert tumour.volume_error_ml == pytest.approx(-2 * 3 * 3 * 2 / 1000)
    assert tumour.overlap.dice == tumour.nsd == 0


def test_where_the_spacing_is_lost_there_are_no_millimetres():
    square = box((2, 10), (2, 12), shape=(12, 20))
    scores = judge(Exam("one", (piece(square, square, None),)), 2).of[Structure.LIVER]
    assert scores.overlap.dice == 1
    assert np.isnan([scores.nsd, scores.hd95_mm, scores.true_ml, scores.volume_error_ml]).all()


def test_slices_without_neighbours_have_no_volume_but_a_mean_distance():
    near = piece(*[box((2, 10), (2, 12), shape=(12, 20))] * 2, (1.0, 1.0))
    far = piece(
        box((2, 10), (2, 12), shape=(12, 20)), box((2, 10), (2, 15), shape=(12, 20)), (2, 2)
    )
    scores = judge(Exam("one", (near, far)), 2)
    assert scores.of[Structure.LIVER].hd95_mm == pytest.approx((0 + 6) / 2)
    assert np.isnan(scores.of[Structure.LIVER].volume_error_ml)
    assert not scores.whole


def test_what_nobody_looked_at_counts_neither_way():
    target = box((3, 8), (4, 14), (4, 14))
    target[:, :, 16:] = Target.UNKNOWN
    found = box((3, 8), (4, 14), (4, 20))
    counted = judge(Exam("one", (piece(target, found),)), 2).of[Structure.LIVER].overlap
    assert counted.predicted == 5 * 10 * 12
    assert counted.pixels == 12 * 20 * 16


def test_tumours_that_were_not_drawn_are_not_judged():
    target = box((3, 8), (4, 14), (4, 14)) * np.uint8(Target.LIVER_OR_TUMOUR)
    found = np.where(target > 0, Label.TUMOUR, 0)
    scores = judge(Exam("one", (piece(target, found),)), 2)
    assert list(scores.of) == [Structure.LIVER]
    assert scores.of[Structure.LIVER].overlap.dice == 1
    assert scores.lesions is None


def test_slices_are_counted_for_tumours_only_where_these_were_drawn():
    drawn = np.array([[Target.BACKGROUND, Target.LIVER, Target.TUMOUR, Target.TUMOUR]])
    undrawn = np.array([[Target.BACKGROUND, Target.LIVER_OR_TUMOUR, Target.UNKNOWN, 0]])
    found = np.array([[0, Label.TUMOUR, Label.TUMOUR, Label.LIVER]])
    tally = Tally()
    tally.add("one", np.stack([found, found * 0]), np.stack([drawn, undrawn]))
    tally.add("one", found[None], drawn[None])
    figures = tally.figures()
    assert figures.tumour == {"one": Overlap(2, 4, 4, 8)}
    assert figures.liver == {"one": Overlap(6, 6, 7, 12)}
    assert figures.tumour_patients == 1


def test_arrays_of_two_grids_are_refused():
    with pytest.raises(BadData, match="one grid expected"):
        piece(np.zeros((2, 3, 4)), np.zeros((2, 3, 5)))


def test_marks_where_nobody_looked_do_not_count():
    target = box((2, 6), (2, 6), (2, 6))
    target[8:] = Target.UNKNOWN
    found = box((2, 6), (2, 6), (2, 6)) * np.uint8(Label.TUMOUR)
    found[9:11, 3:6, 3:6] = Label.TUMOUR
    judged = piece(target, found)
    for structure in Structure:
        marked, _ = judged.masks(structure)
        assert not marked[8:].any()
        assert marked[:8].any()
