"""Everything that the node says is on the disk survives a power cut at each change of the disk."""

import os
import sqlite3
from contextlib import closing
from itertools import count

import pytest
import sqlalchemy

from dicom_node.data_folder import DataFolder
from dicom_node.deliver.folder import FolderPeer
from dicom_node.errors import NodeError
from dicom_node.jobs.store import connectable
from dicom_node.receive.header import SeriesKey
from dicom_node.receive.spool import Spool
from dicom_node.registers.register_file import RegisterFile
from engine.durable_files import write_durably
from tests.conftest import make_ct_series
from tests.power_cut.disk import Cut

CUTS = [
    Cut(names="none", content="none"),
    Cut(names="all", content="none"),
    Cut(names="none", content="all"),
    Cut(names="some", content="some", seed=15),
]
OLD, NEW = b"old" * 3000, b"new" * 4000
NUMBERS = count()


@pytest.fixture(params=CUTS, ids=lambda cut: f"names {cut.names}, content {cut.content}")
def survives(powered, request):
    """Return a function that cuts the power at each change that an action makes, in turn.

    The action gets a new folder each time, and returns a check. If the action came to its end, the
    check must hold for all of it; otherwise it is called with `done=False`.
    """

    def survives(prepare, act, check):
        done, change = False, 0
        while not done:
            change += 1
            folder = powered.folder / str(next(NUMBERS))
            folder.mkdir()
            prepare(folder)
            handle = os.open(powered.folder, os.O_RDONLY)
            os.fsync(handle)
            os.close(handle)
            powered.plan(request.param, change)
            try:
                act(folder)
                done = True
            except (OSError, NodeError, sqlite3.Error, sqlalchemy.exc.SQLAlchemyError):
                done = False
            powered.cut(request.param)
            powered.wait_for_cut()
            powered.restore()
            check(folder, done)
        return change

    return survives


def nothing(folder):
    pass


def test_a_file_is_the_old_or_the_new_one(survives):
    def check(folder, done):
        assert (folder / "file").read_bytes() in ([NEW] if done else [OLD, NEW])

    changes = survives(
        lambda folder: write_durably(folder / "file", OLD),
        lambda folder: write_durably(folder / "file", NEW),
        check,
    )
    assert changes > 4  # created, written, synced, renamed


def test_an_instance_that_was_answered_is_in_the_spool(survives):
    key = SeriesKey("1.2", "1.2.3")

    def check(folder, done):
        found = list((folder / "data").rglob("*.dcm"))
        assert [each.read_bytes() for each in found] == [NEW] or not (found or done)

    survives(
        lambda folder: write_durably(folder / "there", OLD),
        lambda folder: Spool(DataFolder(folder / "data").spool).put(key, "1.2.3.4", NEW),
        check,
    )


def test_a_node_keeps_its_name(survives):
    names = {}

    def start(folder):
        with DataFolder(folder / "data").claimed() as name:
            names[folder] = name

    def check(folder, done):
        assert DataFolder(folder / "data").name == names.get(folder) or not done

    survives(nothing, start, check)


def test_an_object_that_was_delivered_is_in_the_folder(survives, tmp_path):
    (instance,) = make_ct_series(1)
    result = tmp_path / "seg.dcm"
    instance.save_as(result, enforce_file_format=True)

    def check(folder, done):
        found = list(folder.rglob("*.dcm"))
        assert [each.read_bytes() for each in found] == [result.read_bytes()] or not (found or done)

    survives(nothing, lambda folder: FolderPeer("shelf", folder / "a" / "b").send(result), check)


@pytest.mark.parametrize("open_store", ["register", "jobs"])
def test_what_was_committed_is_in_the_store(survives, open_store):
    write = {"register": into_register, "jobs": into_job_store}[open_store]

    def check(folder, done):
        with closing(sqlite3.connect(folder / "store")) as store:
            rows = store.execute("SELECT a FROM t ORDER BY a").fetchall()
        assert rows in ([[(1,), (2,)]] if done else [[(1,)], [(1,), (2,)]])

    survives(lambda folder: write(folder, 1), lambda folder: write(folder, 2), check)


def into_register(folder, number):
    register = RegisterFile(folder / "store", "CREATE TABLE IF NOT EXISTS t (a)")
    with register.transaction() as store:
        store.execute("INSERT INTO t VALUES (?)", (number,))


def into_job_store(folder, number):
    engine = sqlalchemy.create_engine(connectable(f"sqlite:///{folder / 'store'}"))
    with engine.begin() as store:
        store.execute(sqlalchemy.text("CREATE TABLE IF NOT EXISTS t (a)"))
        store.execute(sqlalchemy.text(f"INSERT INTO t VALUES ({number})"))
    engine.dispose()
