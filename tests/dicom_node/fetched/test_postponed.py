"""Jobs that wait for a gateway: when they are tried again, and what is shown meanwhile."""

from types import SimpleNamespace

import pytest

from dicom_node.errors import GatewayAway
from dicom_node.fetched import postponed
from dicom_node.fetched.postponed import (
    Postponed,
    Postponement,
    forget_postponement,
    queue_due_jobs,
)
from dicom_node.jobs.backoff import Backoff
from dicom_node.jobs.workflows import AGAIN_S, POSTPONED, TIMES


class Store:
    """Stands for DBOS: workflows with their attributes and queues."""

    executor_id = "c/work-1"

    def __init__(self):
        self.workflows = {}

    def add(self, name, **attributes):
        found = {"workflow_id": name, "attributes": attributes, "queue_name": "segment on c"}
        self.workflows[name] = SimpleNamespace(status="PENDING", **found)

    def get_workflow_status(self, name):
        return self.workflows.get(name)

    def update_workflow_attributes(self, name, attributes, *, merge):
        assert merge
        self.workflows[name].attributes |= attributes

    def resume_workflow(self, name, *, queue_name):
        self.workflows[name].status, self.workflows[name].queue_name = "ENQUEUED", queue_name

    def list_workflows(self, *, name, status, queue_name):
        assert name == "segment"
        found = self.workflows.values()
        return [each for each in found if (each.status, each.queue_name) == (status, queue_name)]


@pytest.fixture
def store(monkeypatch):
    store = Store()
    monkeypatch.setattr(postponed, "DBOS", store)
    monkeypatch.setattr(postponed, "here", lambda: "c")
    store.add("job")
    return store


def postpone(now_s, job="job"):
    with pytest.raises(Postponed):
        Postponement(Backoff(5.0, 60.0), lambda: now_s).postpone(job, GatewayAway("g is away"))


def test_a_job_goes_on_once_its_pause_is_over(store):
    postpone(100.0)
    job = store.workflows["job"]
    assert (job.status, job.queue_name) == ("ENQUEUED", "postponed on c")
    assert job.attributes[POSTPONED] == "g is away"
    queue_due_jobs(104.9)
    assert job.queue_name == "postponed on c"
    queue_due_jobs(105.0)
    assert job.queue_name == "segment on c"


def test_pauses_double_up_to_the_longest_and_never_end(store):
    pauses = []
    for _ in range(100):
        postpone(0.0)
        pauses.append(store.workflows["job"].attributes[AGAIN_S])
    assert pauses[:5] == [5.0, 10.0, 20.0, 40.0, 60.0]
    assert set(pauses[4:]) == {60.0}


def test_an_urgent_job_goes_back_to_the_urgent_queue(store):
    store.add("urgent", urgent=True)
    postpone(0.0, "urgent")
    queue_due_jobs(1000.0)
    assert store.workflows["urgent"].queue_name == "urgent on c"


def test_after_a_result_the_first_pause_is_the_shortest_again(store):
    postpone(0.0)
    forget_postponement("job")
    assert store.workflows["job"].attributes[POSTPONED] == ""
    postpone(0.0)
    assert store.workflows["job"].attributes[AGAIN_S] == 5.0
    assert store.workflows["job"].attributes[TIMES] == 1


def test_a_job_of_which_no_gateway_was_away_is_not_written(store):
    forget_postponement("job")
    forget_postponement("absent")
    assert store.workflows["job"].attributes == {}
