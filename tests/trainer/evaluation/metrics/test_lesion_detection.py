import numpy as np
import pytest

from engine.volume import Label
from tests.trainer.evaluation.metrics.test_scores import box, piece
from trainer.evaluation.metrics.exam import Exam, Structure
from trainer.evaluation.metrics.lesion_detection import Lesion, lesions_of
from trainer.evaluation.metrics.scores import judge
from trainer.evaluation.metrics.summary import SIZES, summarise

TUMOUR = np.uint8(Label.TUMOUR)


def exam(name, drawn, found, spacing_mm=(2.0, 1.0, 1.0)) -> Exam:
    return Exam(name, (piece(drawn * TUMOUR, found * TUMOUR, spacing_mm),))


def test_two_lesions_under_one_mark_are_both_found_and_the_mark_is_right():
    drawn = box((2, 6), (2, 6), (2, 6)) + box((2, 6), (2, 6), (8, 12))
    lesions = lesions_of(exam("one", drawn, box((2, 6), (2, 6), (2, 12))))
    assert [lesion.covered for lesion in lesions.drawn] == [1, 1]
    assert [lesion.covered for lesion in lesions.found] == [pytest.approx(0.8)]


def test_a_lesion_has_the_diameter_of_a_ball_of_its_size_and_on_a_slice_of_a_disc():
    (ball,) = lesions_of(exam("one", box((2, 6), (2, 6), (2, 6)), box())).drawn
    assert ball.diameter_mm == pytest.approx(2 * (3 * 128 / (4 * np.pi)) ** (1 / 3))
    assert ball.ml == pytest.approx(0.128)
    square = box((2, 6), (2, 6), shape=(12, 20))
    (disc,) = lesions_of(exam("one", square, square * 0, (1.0, 1.0))).drawn
    assert np.pi * disc.diameter_mm**2 / 4 == pytest.approx(16)
    (lost,) = lesions_of(exam("one", square, square * 0, None)).drawn
    assert np.isnan(lost.diameter_mm)


def test_lesions_that_touch_at_an_edge_only_are_two():
    drawn = box((2, 4), (2, 4), (2, 4)) + box((4, 6), (4, 6), (2, 4))
    assert len(lesions_of(exam("one", drawn, drawn)).drawn) == 2


def test_recall_is_stated_by_size_and_false_marks_of_the_healthy_are_counted():
    small, large = box((2, 3), (2, 4), (2, 4)), box((5, 11), (8, 18), (8, 18))
    patients = [
        judge(exam("ill", small + large, large), 2),
        judge(exam("healthy", small * 0, small), 2),
        judge(exam("spared", small * 0, small * 0), 2),
    ]
    figures = summarise(patients).lesions
    sizes = {each.size: (each.lesions, each.found) for each in figures.by_size}
    assert sizes == {"under 10 mm": (1, 0), "10 to 20 mm": (1, 1)}
    assert (figures.every.recall.value, figures.every.recall.patients) == (0.5, 1)
    assert figures.precision.value == 0.5
    assert (figures.healthy.patients, figures.healthy.lesions) == (2, 1)
    assert figures.healthy.ml == pytest.approx(0.008)


@pytest.mark.parametrize(
    ("diameter_mm", "size"),
    [
        (0.0, "under 10 mm"),
        (9.999, "under 10 mm"),
        (10.0, "10 to 20 mm"),
        (19.999, "10 to 20 mm"),
        (20.0, "20 mm and more"),
        (180.0, "20 mm and more"),
        (np.nan, "size unknown"),
    ],
)
def test_every_diameter_has_one_size(diameter_mm, size):
    lesion = Lesion(diameter_mm, 1.0, 1.0)
    assert [each.name for each in SIZES if each.holds(lesion)] == [size]


@pytest.mark.parametrize(
    ("columns", "found", "half"), [(1, 0, 0), (2, 1, 0), (9, 1, 0), (10, 1, 1)]
)
def test_a_lesion_is_found_where_a_tenth_of_it_is_marked(columns, found, half):
    drawn = box((2, 6), (2, 12), (0, 20))
    marked = box((2, 6), (2, 12), (0, columns))
    every = summarise([judge(exam("ill", drawn, marked), 2)]).lesions.every
    assert (every.lesions, every.found, every.recall_half.value) == (1, found, half)


def test_who_has_no_tumour_has_no_say_in_the_mean_of_those_who_have_one():
    lesion = box((2, 6), (2, 6), (2, 6))
    patients = [
        judge(exam("ill", lesion, lesion), 2),
        judge(exam("healthy", 0 * lesion, lesion), 2),
    ]
    summary = summarise(patients)
    dice = summary.spreads[Structure.TUMOUR][0].mean
    assert (dice.value, dice.patients) == (1, 1)
    assert summary.pooled_dice[Structure.TUMOUR].value == pytest.approx(2 / 3)
