"""What a worker that is drained finishes, and what it hands back."""

from types import SimpleNamespace

import pytest

from dicom_node.cluster import worker_intake
from dicom_node.cluster.worker_intake import WorkerIntake
from dicom_node.jobs.workflows import NotedWorkflows


class Store:
    """Stands for DBOS: what this process has under way."""

    executor_id = "folder/me"

    def __init__(self, **kinds):
        self.kinds, self.handed_back = kinds, []

    def list_workflows(self, *, name, status, executor_id):
        assert (name, status, executor_id) == (["segment", "deliver"], "PENDING", "folder/me")
        return [
            SimpleNamespace(workflow_id=each, name=kind, queue_name=f"{kind} queue", attributes={})
            for each, kind in self.kinds.items()
        ]

    def resume_workflow(self, name, *, queue_name):
        self.handed_back.append((name, queue_name))
        del self.kinds[name]


class Polls:
    def __init__(self, *, ended):
        self.ended = ended


@pytest.fixture
def store(monkeypatch):
    store = Store(**{"job-1": "segment", "sent": "deliver", "pausing": "deliver"})
    monkeypatch.setattr(worker_intake, "DBOS", store)
    return store


def test_series_and_steps_are_finished_and_deliveries_that_pause_handed_back(store):
    steps = NotedWorkflows()
    intake = WorkerIntake(Polls(ended=True), steps)
    with steps.noted("sent"):
        assert not intake.is_empty()
        assert store.handed_back == [("pausing", "deliver queue")]
        assert not intake.is_empty()
    assert store.handed_back == [("pausing", "deliver queue")]
    del store.kinds["job-1"], store.kinds["sent"]
    assert intake.is_empty()


def test_nothing_is_said_to_be_left_before_the_last_poll_has_ended(store):
    store.kinds.clear()
    polls = Polls(ended=False)
    intake = WorkerIntake(polls, NotedWorkflows())
    assert not intake.is_empty()
    polls.ended = True
    assert intake.is_empty()
