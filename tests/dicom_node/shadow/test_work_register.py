"""Series that a shadow model has to compute."""

import pytest

from dicom_node.jobs.records import SeriesTask
from dicom_node.shadow.work_register import DEATHS, ShadowState, WorkRegister

TASK = SeriesTask("1.2", "1.2.3", ())


@pytest.fixture
def register(tmp_path):
    return WorkRegister(tmp_path / "shadow.sqlite")


def test_what_is_computed_is_not_due_again(register):
    for _ in range(2):
        register.add("job", "ab", "toy 1", TASK)
    assert [each.task for each in register.due("ab")] == [TASK]
    assert register.finish("job", "ab")
    register.add("job", "ab", "toy 1", TASK)
    assert register.due("ab") == []
    assert [each.text for each in register.of("job")] == ["toy 1: computed"]


def test_what_failed_is_due_again_once_the_job_is_done_again(register):
    register.add("job", "ab", "toy 1", TASK)
    register.finish("job", "ab", "out of order")
    assert register.of("job")[0].text == "toy 1: not computed, out of order"
    register.add("job", "ab", "toy 1", TASK)
    assert len(register.due("ab")) == 1


def test_a_series_of_which_the_node_dies_is_given_up(register):
    register.add("job", "ab", "toy 1", TASK)
    for _ in range(DEATHS):
        assert len(register.due("ab")) == 1
        register.begin("job", "ab")
        register.take_up("ab")
    (work,) = register.of("job")
    assert work.state is ShadowState.NOT_COMPUTED
    assert "the node died 3 times" in work.reason


def test_a_stop_in_order_counts_as_no_death(register):
    register.add("job", "ab", "toy 1", TASK)
    for _ in range(DEATHS + 1):
        register.begin("job", "ab")
        register.put_back("job", "ab")
        register.take_up("ab")
    assert len(register.due("ab")) == 1


def test_work_for_another_shadow_is_given_up(register):
    register.add("job", "ab", "toy 1", TASK)
    register.take_up("cd")
    assert register.due("ab") == []


def test_a_forgotten_job_is_not_finished(register):
    register.add("job", "ab", "toy 1", TASK)
    register.forget("job")
    assert not register.finish("job", "ab")
    assert register.of("job") == []
