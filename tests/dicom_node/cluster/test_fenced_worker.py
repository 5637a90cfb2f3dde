"""What a worker does once its work was given to another process."""

from types import SimpleNamespace

import pytest

from dicom_node.cluster import fenced_worker
from dicom_node.cluster.fenced_worker import (
    FencedDeliveries,
    FencedSeries,
    OwnershipCheck,
    TakenOver,
    require_owned,
)

OWN = SimpleNamespace(status="PENDING", executor_id="folder/me")
OTHERS = [
    SimpleNamespace(status="PENDING", executor_id="folder/other"),
    SimpleNamespace(status="ENQUEUED", executor_id="folder/me"),
    SimpleNamespace(status="SUCCESS", executor_id="folder/me"),
    None,
]


class Store:
    """Stands for DBOS: the workflow store as one process sees it."""

    executor_id, workflow_id = "folder/me", "job"

    def __init__(self, status):
        self.status, self.asked = status, 0

    def get_workflow_status(self, name):
        self.asked += 1
        return self.status


@pytest.fixture
def store(monkeypatch):
    store = Store(OWN)
    monkeypatch.setattr(fenced_worker, "DBOS", store)
    return store


@pytest.mark.parametrize("status", OTHERS)
def test_work_of_another_process_is_left_alone(status, store):
    require_owned("job")
    store.status = status
    with pytest.raises(TakenOver):
        require_owned("job")


@pytest.mark.parametrize("step", ["segment", "failed", "deliver", "confirm"])
def test_no_step_begins_on_the_work_of_another_process(step, store):
    called = []
    worker = SimpleNamespace(**{step: lambda *_, **__: called.append(step)})
    arguments = {"segment": ("job", None), "failed": ("job", None, "")}.get(step, (None,))
    named = {"urgent": False, "superseded": ()} if step == "segment" else {}
    fenced = FencedSeries if step in ("segment", "failed") else FencedDeliveries
    run = getattr(fenced(worker), step)
    run(*arguments, **named)
    store.status = OTHERS[0]
    with pytest.raises(TakenOver):
        run(*arguments, **named)
    assert called == [step]


def test_a_segmentation_that_was_taken_over_meanwhile_has_no_result(store):
    def segment(*arguments, **named):
        store.status = OTHERS[0]

    with pytest.raises(TakenOver):
        FencedSeries(SimpleNamespace(segment=segment)).segment(
            "job", None, urgent=False, superseded=()
        )


def test_progress_looks_at_the_store_once_a_second_and_before_results_are_written(store):
    now = [0.0]
    check = OwnershipCheck(clock=lambda: now[0])
    for now[0] in (10.0, 10.5, 10.9):
        check("job", 1, 9)
    assert store.asked == 1
    check("job", 9, 9)
    assert store.asked == 2


def test_progress_after_a_long_stop_ends_the_work(store):
    now = [0.0]
    check = OwnershipCheck(clock=lambda: now[0])
    now[0] = 10.0
    check("job", 1, 9)
    store.status = OTHERS[0]
    now[0] = 40.0
    with pytest.raises(TakenOver):
        check("job", 2, 9)
