"""Which run of a job counts, and where each one writes."""

from contextlib import ExitStack

import pytest
from pydicom.uid import generate_uid
from sqlalchemy import delete, select, update
from sqlalchemy.exc import OperationalError

from dicom_node.cluster import epochs as module
from dicom_node.cluster import tables
from dicom_node.cluster.epochs import Epochs
from dicom_node.cluster.fenced_worker import TakenOver
from dicom_node.cluster.ownership import owned_in, workflows
from dicom_node.data_folder import DataFolder


@pytest.fixture
def store(engine):
    """A database with the columns that matter here of DBOS's table of workflows."""
    columns = ", ".join(f"{each.name} text" for each in workflows.columns)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA IF NOT EXISTS dbos")
        connection.exec_driver_sql(f"CREATE TABLE IF NOT EXISTS {workflows.fullname} ({columns})")
    yield engine
    with engine.begin() as connection:
        connection.execute(delete(workflows))


@pytest.fixture
def folder(tmp_path):
    data = DataFolder(tmp_path)
    data.results.mkdir()
    return data


@pytest.fixture
def runs_of(store, folder):
    """Return the runs of one process; all of them share a folder."""
    shared = str(generate_uid())
    return lambda name: Epochs(store, folder, shared, name)


def begun(runs):
    """Return a run that has begun and ends at `close`, and the file of its SEG."""
    run = ExitStack()
    return run, run.enter_context(runs.place("job"))


def give(store, job, executor, status="PENDING"):
    with store.begin() as connection:
        connection.execute(delete(workflows).where(workflows.c.workflow_uuid == job))
        row = {"workflow_uuid": job, "status": status, "executor_id": executor}
        connection.execute(workflows.insert().values(row))


def committed(store, runs, job="job"):
    where = tables.epochs.c.folder == runs.folder, tables.epochs.c.job == job
    with store.connect() as connection:
        return connection.scalar(select(tables.epochs.c.committed).where(*where))


def test_a_run_that_was_taken_over_meanwhile_does_not_count(store, runs_of):
    late, other = runs_of("late"), runs_of("other")
    give(store, "job", "late")
    run, theirs = begun(late)
    give(store, "job", "other")
    with other.place("job") as ours:
        ours.write_bytes(b"ours")
    theirs.write_bytes(b"late")
    with pytest.raises(TakenOver):
        run.close()
    assert ours.read_bytes() == b"ours"
    assert ours.parent.name == f"job.epoch-{committed(store, other)}"


def test_an_older_run_of_the_same_process_does_not_count(store, runs_of):
    runs = runs_of("one")
    give(store, "job", "one")
    run, old = begun(runs)
    with runs.place("job") as new:
        new.write_bytes(b"new")
    old.write_bytes(b"old")
    with pytest.raises(TakenOver):
        run.close()
    assert new.read_bytes() == b"new"
    assert new.parent.name == f"job.epoch-{committed(store, runs)}"


@pytest.mark.parametrize("status", ["ENQUEUED", "SUCCESS", "CANCELLED"])
def test_no_run_begins_on_a_job_that_is_not_at_work_here(store, runs_of, folder, status):
    give(store, "job", "one", status)
    with pytest.raises(TakenOver), runs_of("one").place("job"):
        pytest.fail("it has begun")
    assert list(folder.results.iterdir()) == []


def test_a_run_has_what_the_last_whole_one_made_and_nothing_of_a_broken_one(store, runs_of, folder):
    runs = runs_of("one")
    give(store, "job", "one")
    (folder.results / "job.dcm").write_bytes(b"of a node")
    with runs.place("job") as first:
        assert first.read_bytes() == b"of a node"
        first.write_bytes(b"first")
        first.with_suffix(".report.dcm").write_bytes(b"report")
    _, broken = begun(runs)
    broken.write_bytes(b"broken")
    with runs.place("job") as last:
        assert last.read_bytes() == b"first"
        assert last.with_suffix(".report.dcm").read_bytes() == b"report"
    assert len({each.parent for each in (first, broken, last)}) == 3


def test_a_store_that_is_away_is_waited_for(store, runs_of, monkeypatch):
    runs, asked = runs_of("one"), []
    give(store, "job", "one")
    keep_owned = module.keep_owned

    def away(connection, job, executor):
        asked.append(job)
        if len(asked) in (1, 3):
            raise OperationalError("SELECT", {}, ConnectionError("the store is away"))
        keep_owned(connection, job, executor)

    monkeypatch.setattr(module, "AGAIN_S", 0.01)
    monkeypatch.setattr(module, "keep_owned", away)
    with runs.place("job") as seg:
        seg.write_bytes(b"seg")
    assert len(asked) == 4
    assert seg.parent.name == f"job.epoch-{committed(store, runs)}"


def test_epochs_go_with_the_jobs_and_no_number_comes_twice(store, runs_of):
    runs = runs_of("one")
    for job in ("job", "kept"):
        give(store, job, "one")
        with runs.place(job) as first:
            pass
    with store.begin() as connection:
        connection.execute(update(workflows).values(status="SUCCESS"))
        connection.execute(delete(workflows).where(workflows.c.workflow_uuid == "job"))
    runs.forget()
    assert committed(store, runs) is None
    assert committed(store, runs, "kept") is not None
    give(store, "job", "one")
    with runs.place("job") as again:
        assert int(again.parent.name.rpartition("-")[2]) > int(first.parent.name.rpartition("-")[2])


def test_a_job_is_kept_with_its_process_until_a_file_lies_in_its_place(store):
    owned = owned_in(store)
    give(store, "job", "one")
    other = update(workflows).where(workflows.c.workflow_uuid == "job").values(executor_id="other")
    with owned("job", "one"), store.connect() as another:
        another.exec_driver_sql("SET lock_timeout = '100ms'")
        with pytest.raises(OperationalError, match="lock timeout"):
            another.execute(other)
    give(store, "job", "other")
    with pytest.raises(TakenOver), owned("job", "one"):
        pytest.fail("kept with a process that does not have it")
