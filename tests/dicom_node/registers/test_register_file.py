"""The file of a register: whole, this user's alone, and named where it cannot be used."""

import errno
import sqlite3
import stat

import pytest

from dicom_node.errors import StoreUnusable, lacks_room
from dicom_node.registers.register_file import RegisterFile

TABLE = "CREATE TABLE IF NOT EXISTS names (name TEXT)"


def put(path, name):
    with RegisterFile(path, TABLE).transaction() as store:
        store.execute("INSERT INTO names VALUES (?)", (name,))


def put_each(path, *rows):
    with RegisterFile(path, TABLE).transaction() as store:
        store.executemany("INSERT INTO names VALUES (?)", rows)


def names(path):
    with RegisterFile(path, TABLE).transaction() as store:
        return [name for (name,) in store.execute("SELECT name FROM names")]


def test_what_was_put_is_there_for_the_next_and_for_nobody_else(tmp_path):
    put(tmp_path / "names", "a")
    put(tmp_path / "names", "b")
    assert names(tmp_path / "names") == ["a", "b"]
    assert stat.S_IMODE((tmp_path / "names").stat().st_mode) == 0o600


def test_a_block_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(StoreUnusable):  # a value too many for the second
        put_each(tmp_path / "names", ("a",), ("b", "c"))
    assert names(tmp_path / "names") == []


def test_a_full_disk_is_waited_for(tmp_path, monkeypatch):
    class Full(sqlite3.Connection):
        def execute(self, statement, *values):
            if statement == "COMMIT":
                raise sqlite3.OperationalError("database or disk is full")
            return super().execute(statement, *values)

    opened = sqlite3.connect
    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", lambda *at, **how: opened(*at, factory=Full, **how))
        with pytest.raises(OSError, match="No space") as caught:
            put(tmp_path / "numbers", "a")
    assert caught.value.errno == errno.ENOSPC
    assert lacks_room(caught.value)
    put(tmp_path / "numbers", "b")
    assert names(tmp_path / "numbers") == ["b"]


def test_a_damaged_file_is_named_with_the_way_out(tmp_path):
    path = tmp_path / "numbers"
    path.write_bytes(b"no database" * 500)
    with pytest.raises(StoreUnusable, match=r"numbers cannot be used: .*move it away"):
        put(path, "a")


def test_a_folder_in_its_place_is_an_error_of_the_system(tmp_path):
    with pytest.raises(OSError, match="directory"):
        put(tmp_path, "a")
