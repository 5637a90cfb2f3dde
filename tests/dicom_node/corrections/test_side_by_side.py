"""Serving and shadow model on the same corrections."""

import pytest

from dicom_node.corrections.correction import ShadowDice
from dicom_node.corrections.side_by_side import FEWEST, pair_of, side_by_side
from tests.dicom_node.corrections.drawn import correction


def corrected(serving, shadow, **changes):
    other = ShadowDice("candidate 2", "cd", {"liver": shadow})
    return correction(dice={"liver": serving}, shadows=(other,), **changes)


def test_means_differences_and_signs_are_of_the_same_images():
    pairs = [(0.8, 0.9), (0.9, 0.8), (0.7, 0.9), (0.5, 0.5)]
    alone = correction(dice={"liver": 0.1})
    (found,) = side_by_side([alone, *(corrected(*pair) for pair in pairs)])
    (liver,) = found.structures
    assert (found.count, liver.count, liver.better, liver.worse) == (4, 4, 2, 1)
    assert liver.serving == pytest.approx(0.725)
    assert liver.shadow == pytest.approx(0.775)
    assert liver.difference == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("count", "gain", "words"),
    [
        (FEWEST - 1, 0.2, f"too few to tell: {FEWEST - 1} of at least {FEWEST}"),
        (FEWEST, 0.2, "the shadow agrees more"),
        (FEWEST, -0.2, "the shadow agrees less"),
        (FEWEST, 0.0, "no difference can be told"),
    ],
)
def test_the_conclusion_needs_enough_images(count, gain, words):
    noise = [0.01 if index % 2 else -0.01 for index in range(count)]
    (found,) = side_by_side([corrected(0.7, 0.7 + gain + each) for each in noise])
    assert found.structures[0].conclusion == words
    assert found.agrees_less == (words == "the shadow agrees less")


def test_only_the_newest_correction_of_a_result_counts():
    first = corrected(0.1, 0.2, job="job", written="20261101")
    (found,) = side_by_side([first, corrected(0.8, 0.9, job="job", written="20261102")])
    assert (found.count, found.structures[0].serving) == (1, 0.8)


def test_each_pair_of_models_stands_alone():
    newer = corrected(0.8, 0.9, digest="ef")
    found = side_by_side([corrected(0.8, 0.9), newer])
    assert {(each.digest, each.count) for each in found} == {("ab", 1), ("ef", 1)}
    assert pair_of([newer], "ab", "cd") is None


def test_a_shadow_that_serves_by_now_is_not_compared_with_itself():
    assert side_by_side([corrected(0.8, 0.8, digest="cd")]) == []
