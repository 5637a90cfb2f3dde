import pytest

from engine.devices.batch_size import candidates, checked_sizes, chosen


@pytest.mark.parametrize(
    ("most", "least", "expected"),
    [
        (64, 1, (4, 8, 16, 32, 64)),
        (8, 1, (4, 8)),
        (12, 1, (4, 8, 12)),
        (100, 1, (4, 8, 16, 32, 64, 100)),
        (4, 1, (4,)),
        (2, 1, (2,)),
        (16, 5, (8, 16)),
        (5, 5, (5,)),
    ],
)
def test_what_is_measured_is_what_the_plan_takes(most, least, expected):
    assert candidates(most, least) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ({4: 2.0, 8: 1.0, 16: 1.5}, 8),
        ({4: 1.04, 8: 1.0, 16: 1.0}, 4),  # a call of few slices is padded to it
        ({4: 1.06, 8: 1.0, 16: 0.99}, 8),
        ({4: 3.0, 64: 2.0}, 64),
    ],
)
def test_of_nearly_equal_batch_sizes_the_smallest_is_chosen(seconds, expected):
    assert chosen(seconds, "GPU") == expected


def test_the_log_states_the_choice_and_what_was_measured(caplog):
    with caplog.at_level("INFO"):
        chosen({4: 0.02, 8: 0.0125}, "GPU")
    assert "GPU computes 8 slices at once (4: 20.0 ms, 8: 12.5 ms)" in caplog.text


@pytest.mark.parametrize(
    ("most", "least", "expected"),
    [
        (64, 1, (*range(1, 9), 16, 32, 64)),
        (8, 1, tuple(range(1, 9))),
        (3, 1, (1, 2, 3)),
        # 24, 12, 6 and 3 by halving; from 3 on by doubling and from 1 on: 4, 8 and 16.
        (24, 1, (*range(1, 9), 12, 16, 24)),
        # Halved, 9 is 5; doubled, 5 is 10, and no more than 9 are taken.
        (9, 5, (*range(1, 9), 9)),
        # 48, 24, 12, 6, 5, then 10, 20 and 40.
        (48, 5, (*range(1, 9), 10, 12, 16, 20, 24, 32, 40, 48)),
    ],
)
def test_the_gate_sees_every_batch_size_that_may_be_computed(most, least, expected):
    assert checked_sizes(most, least) == expected
