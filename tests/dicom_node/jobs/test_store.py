"""A job store that cannot be used is refused with a remedy, in one sentence."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from sqlalchemy import create_engine, make_url, text

from dicom_node.cluster.membership import DEAD_S
from dicom_node.errors import AlreadyRunning, StoreUnusable
from dicom_node.jobs import store
from dicom_node.jobs.ledger import open_ledger
from tests.dicom_node.jobs.running import run_worker
from tests.dicom_node.jobs.test_workflows import KEPT, SENT, Scripted
from tests.engine.toy_model import write_toy_model


@pytest.fixture
def file(tmp_path):
    return tmp_path / "jobs.sqlite"


def running(url, name="test"):
    worker = Scripted([SENT], [KEPT])
    return run_worker(worker, url, executor=name)


def refusal(file):
    with pytest.raises(StoreUnusable) as caught, running(f"sqlite:///{file}"):
        pass
    message = str(caught.value)
    assert "\n" not in message
    assert str(file) in message
    return message


def damaged_in_the_middle(file):
    with running(f"sqlite:///{file}"):
        pass
    content = bytearray(file.read_bytes())
    content[4096 * 3 : 4096 * 6] = b"x" * 4096 * 3
    file.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_bytes(b"no database at all" * 1000),
        lambda file: (damaged_in_the_middle(file), os.truncate(file, 8192)),
        damaged_in_the_middle,
    ],
)
def test_a_damaged_store_is_refused_with_the_way_out(file, damage, caplog):
    damage(file)
    assert "is damaged; move it away (mv " in refusal(file)
    assert "Traceback" not in caplog.text
    file.rename(f"{file}.damaged")
    with running(f"sqlite:///{file}"):
        pass


def test_a_locked_store_is_refused(file, monkeypatch):
    monkeypatch.setattr(store, "BUSY_S", 0.1)
    library = store._sqlite()  # locks of two libraries in one process do not meet
    with closing(library.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert "locked by another program; end that program" in refusal(file)


def test_a_store_in_a_folder_that_is_not_there_is_refused(tmp_path):
    message = refusal(tmp_path / "absent" / "jobs.sqlite")
    assert "let this user write that file and its folder" in message


def test_a_server_that_does_not_answer_is_named_without_its_password():
    url = "postgresql://hepar:sesame@127.0.0.1:1/hepar"
    reason = r"127\.0\.0\.1:1.*start that server"
    with pytest.raises(StoreUnusable, match=reason) as caught, running(url):
        pass
    assert "sesame" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_reading_a_damaged_store_is_refused_too(file):
    file.write_bytes(b"no database at all" * 1000)
    with pytest.raises(StoreUnusable, match="is damaged"), open_ledger(f"sqlite:///{file}") as jobs:
        jobs.jobs()


def test_one_process_runs_jobs_once(tmp_path):
    with (
        running(f"sqlite:///{tmp_path / 'a.sqlite'}"),
        pytest.raises(AlreadyRunning, match="start another process"),
        running(f"sqlite:///{tmp_path / 'b.sqlite'}"),
    ):
        pass
    with running(f"sqlite:///{tmp_path / 'b.sqlite'}"):
        pass


def test_two_nodes_share_a_store(file):
    """The second has a version of its own: DBOS gives one to one application only."""
    for name in ("one", "two", "one", "two"):
        with running(f"sqlite:///{file}", name):
            pass


OLD = 3, 40, 1


def test_python_with_an_old_sqlite_uses_the_bundled_one(file, monkeypatch):
    pytest.importorskip(store.BUNDLED)
    monkeypatch.setattr(sys, "version_info", (3, 13, 0))
    monkeypatch.setattr(sqlite3, "sqlite_version_info", OLD)
    url = store.connectable(f"sqlite:///{file}")
    assert url == f"sqlite+bundled:///{file}"
    engine = create_engine(url)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT unixepoch('subsec')")).scalar() > 1.7e9
    engine.dispose()


def test_python_with_an_old_sqlite_and_no_bundled_one_is_told_what_to_do(file, monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 13, 0))
    monkeypatch.setattr(sqlite3, "sqlite_version_info", OLD)
    monkeypatch.setattr(store, "BUNDLED", "absent_package")
    with pytest.raises(StoreUnusable, match=r"3\.42\.0 or newer; run `pip install"):
        store.connectable(f"sqlite:///{file}")


def test_the_address_of_a_file_stays_as_it_is(monkeypatch):
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 46, 0))
    assert store.connectable("sqlite:////a/b.sqlite") == "sqlite:////a/b.sqlite"


def test_a_server_that_vanishes_is_noticed_before_its_clients_count_as_dead():
    url = make_url(store.connectable("postgresql://hepar:secret@/hepar?host=a:1&host=b:2"))
    limits = {name: int(url.query[name]) for name in store.PATIENCE}
    assert limits["tcp_user_timeout"] / 1000 < DEAD_S
    probes = limits["keepalives_interval"] * limits["keepalives_count"]
    assert limits["keepalives_idle"] + probes < DEAD_S
    assert (url.password, url.query["host"]) == ("secret", ("a:1", "b:2"))


def test_what_the_address_of_a_server_states_stays():
    url = "postgresql://h/hepar?tcp_user_timeout=60000&sslmode=verify-full"
    query = make_url(store.connectable(url)).query
    assert (query["tcp_user_timeout"], query["sslmode"]) == ("60000", "verify-full")


def test_serve_ends_with_one_line_on_a_damaged_store(tmp_path):
    (tmp_path / "jobs.sqlite").write_bytes(b"no database at all" * 1000)
    settings = {"NODE__DATA": tmp_path, "NODE__PORT": 0, "ENGINE__MODEL": tmp_path / "model"}
    write_toy_model(tmp_path / "model")
    environment = os.environ | {f"HEPAR_{key}": str(value) for key, value in settings.items()}
    command = [sys.executable, "-c", "from dicom_node.main import main; main()", "serve"]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert run.returncode == 2
    (error,) = [line for line in run.stderr.splitlines() if " INFO " not in line]
    assert "is damaged; move it away" in error
