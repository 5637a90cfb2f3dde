"""Corrected results by month and scanner, and the warning when they agree less."""

from datetime import UTC, datetime, timedelta

import pytest

from dicom_node.corrections.agreement import RECENT, agreement, falls
from dicom_node.corrections.correction import Scanner
from tests.dicom_node.corrections.drawn import SCANNER, correction


def series_of(*dice, scanner=SCANNER):
    """Corrections, one a day, with these Dice of the tumours."""
    first = datetime(2026, 11, 2, tzinfo=UTC)
    return [
        correction(arrived=first + timedelta(days=day), dice={"tumour": each}, scanner=scanner)
        for day, each in enumerate(dice)
    ]


def test_a_month_of_a_scanner_is_one_row():
    october = datetime(2026, 10, 30, tzinfo=UTC)
    other = Scanner("Other")
    rows = agreement(
        [
            correction(dice={"liver": 0.9, "tumour": 0.5}),
            correction(dice={"liver": 0.7}),
            correction(scanner=other),
            correction(arrived=october),
            correction(reason="another grid", dice={}),
        ]
    )
    assert [(row.month, row.scanner, row.count) for row in rows] == [
        ("2026-11", "Maker Model 1 CT-2", 2),
        ("2026-11", "Other", 1),
        ("2026-10", "Maker Model 1 CT-2", 1),
    ]
    assert rows[0].dice == {"liver": pytest.approx(0.8), "tumour": 0.5}


def test_of_two_corrections_of_one_result_the_one_that_was_written_last_counts():
    newer = correction(job="a", written="20261103", dice={"liver": 0.6})
    older = correction(job="a", written="20261102", dice={"liver": 0.9})
    (row,) = agreement([newer, older])
    assert (row.count, row.dice) == (1, {"liver": 0.6})


def test_results_that_agree_less_than_before_are_named_once_there_are_enough():
    good, bad = [0.9] * RECENT, [0.6] * RECENT
    (fall,) = falls(series_of(*good, *bad))
    assert fall.structure == "tumour"
    assert (fall.before, fall.recent) == (pytest.approx(0.9), pytest.approx(0.6))
    assert "fell from 0.90 to 0.60 on Maker Model 1 CT-2" in fall.text
    assert falls(series_of(*good[1:], *bad)) == []
    assert falls(series_of(*bad, *good)) == []


def test_another_scanner_s_results_are_no_fall_of_this_one():
    worse = series_of(*[0.6] * RECENT, scanner=Scanner("Other"))
    assert falls([*series_of(*[0.9] * RECENT), *worse]) == []
