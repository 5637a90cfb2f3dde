"""The workflow store: the SQLite library under it, and its faults as errors with a remedy.

On Python 3.12 and newer the schema of DBOS takes times from `unixepoch('subsec')`, which is NULL
before SQLite 3.42; Debian 12 has 3.40. There a bundled SQLite (`pysqlite3`) is used instead. All
connections of a process must use the same SQLite library: POSIX locks belong to the process, and a
file that one library closes loses the locks of the other (sqlite.org/howtocorrupt.html, 2.2.1).
So every address of the store passes `connectable`.
"""

import importlib
import importlib.util
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from dbos import error as dbos_error
from sqlalchemy import URL, Engine, event, make_url
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.exc import SQLAlchemyError

from dicom_node.errors import StoreUnusable

OLDEST_SQLITE = (3, 42, 0)
"""First version in which `unixepoch('subsec')` has a value."""

BUNDLED = "pysqlite3"
"""Package with an SQLite of its own."""

PATIENCE = {
    "connect_timeout": "5",
    "keepalives_idle": "5",
    "keepalives_interval": "5",
    "keepalives_count": "2",
    "tcp_user_timeout": "15000",
}
"""What libpq is given for a PostgreSQL, unless its address has it: seconds, and the last one
milliseconds. By default a connection to a machine that vanished is waited for 15 minutes by those
who have sent, and two hours by those who listen; a heartbeat may be late for 30 seconds."""

SERVER_PATIENCE = {
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "2",
    "tcp_user_timeout": "15000",
}
"""What a PostgreSQL is given for its end of a connection. By default it keeps those of clients that
it was cut off from for two hours; they come back on new ones, until it has "too many clients"."""

INSUFFICIENT_PRIVILEGE = "42501"
"""SQLSTATE of PostgreSQL: the role may not do this."""

BUSY_S = 10.0
"""Wait for another program that has locked the store."""


class BundledSqlite(SQLiteDialect_pysqlite):
    """SQLAlchemy's dialect for SQLite on the bundled library: `sqlite+bundled:///file`."""

    driver = "bundled"
    # A dialect that does not say so itself gets no cached statements, and a warning.
    supports_statement_cache = True

    @classmethod
    def import_dbapi(cls) -> Any:
        """Return the module that SQLAlchemy connects with."""
        return importlib.import_module(f"{BUNDLED}.dbapi2")


@event.listens_for(Engine, "connect")
def _commit_durably(connection: Any, record: object) -> None:
    """Have SQLite sync the folder after each commit.

    By default it does not: a power cut soon after would bring the journal back, and the next start
    take the commit back by it (sqlite.org/pragma.html#pragma_synchronous).
    """
    if type(connection).__module__.partition(".")[0] in ("sqlite3", BUNDLED):
        connection.execute("PRAGMA synchronous=EXTRA")


@event.listens_for(Engine, "connect")
def _end_with_client(connection: Any, record: object) -> None:
    """Have PostgreSQL end a connection soon after its client has vanished."""
    if type(connection).__module__.partition(".")[0] == "psycopg":
        # Not by libpq's `options`, which a pooler between refuses.
        settings = ", ".join(f"set_config('{n}', '{v}', false)" for n, v in SERVER_PATIENCE.items())
        connection.execute(f"SELECT {settings}")
        connection.commit()  # or a rollback of the first transaction would take it back


registry.register("sqlite.bundled", __name__, BundledSqlite.__name__)


def connectable(database_url: str) -> str:
    """Return the address under which the store is opened.

    It is opened with an SQLite library that works, or with a PostgreSQL that may vanish.

    Raises:
        StoreUnusable: this Python has no such library.
    """
    url = make_url(database_url)
    if url.get_backend_name() == "postgresql":
        patient = url.update_query_dict({**PATIENCE, **url.query})
        return patient.render_as_string(hide_password=False)
    if url.get_backend_name() != "sqlite" or _sqlite() is sqlite3:
        return database_url
    bundled: str = url.set(drivername="sqlite+bundled").render_as_string(hide_password=False)
    return bundled


def make_private(database_url: str) -> None:
    """Make the file of a SQLite store, and let this user alone read it, whatever the umask.

    Raises:
        StoreUnusable: the file cannot be made, or belongs to another user.
    """
    url = make_url(database_url)
    if url.get_backend_name() != "sqlite":
        return
    file = Path(str(url.database))
    try:
        # Both are needed: `touch` does not change the mode of a file that is there.
        file.touch(0o600)
        file.chmod(0o600)  # SQLite gives its journal the mode of the store
    except OSError as error:
        raise StoreUnusable(_sqlite_message(url, error.strerror or str(error))) from error


def require_usable(database_url: str) -> None:
    """Refuse a SQLite store that is damaged or locked; one that does not exist yet is usable.

    DBOS notices damage only where it reads it, and waits for a lock as long as it lasts.

    Raises:
        StoreUnusable: the message names the remedy.
    """
    url = make_url(database_url)
    if url.get_backend_name() != "sqlite" or not Path(str(url.database)).exists():
        return
    library = _sqlite()
    try:
        with closing(library.connect(str(url.database), timeout=BUSY_S)) as store:
            # IMMEDIATE asks for the write lock now; otherwise the first job would meet the other
            # program's.
            store.execute("BEGIN IMMEDIATE")
            # Up to the first fault, without comparing indexes with tables (sqlite.org/pragma.html).
            (verdict,) = store.execute("PRAGMA quick_check(1)").fetchone()
            store.rollback()
    except library.Error as error:
        raise StoreUnusable(_sqlite_message(url, str(error))) from error
    if verdict != "ok":
        raise StoreUnusable(_sqlite_message(url, "malformed"))


@contextmanager
def faults_named(database_url: str) -> Iterator[None]:
    """Turn what DBOS and its database raise in the block into an error with a remedy.

    Raises:
        StoreUnusable: the message names the remedy, and holds no password.
    """
    try:
        yield
    except (SQLAlchemyError, dbos_error.DBOSException) as error:
        url = make_url(database_url)
        # SQLAlchemy's further lines quote the statement and its values.
        reason = str(getattr(error, "orig", None) or error).split("\n")[0]
        name = _sqlite_message if url.get_backend_name() == "sqlite" else _server_message
        if lacks_rights(error):
            name = _rights_message
        raise StoreUnusable(name(url, reason)) from error


def lacks_rights(error: BaseException) -> bool:
    """Return whether PostgreSQL refused a statement to the role of this process."""
    # Not by its words, which are in the server's language.
    return getattr(getattr(error, "orig", None), "sqlstate", "") == INSUFFICIENT_PRIVILEGE


def _sqlite() -> ModuleType:
    """Return the SQLite library for all connections of this process."""
    if sys.version_info < (3, 12) or sqlite3.sqlite_version_info >= OLDEST_SQLITE:
        return sqlite3
    if importlib.util.find_spec(BUNDLED) is None:
        raise StoreUnusable(
            f"SQLite of this Python is {sqlite3.sqlite_version}, the job store needs"
            f" {'.'.join(map(str, OLDEST_SQLITE))} or newer; run `pip install {BUNDLED}`, use"
            " Python 3.11, or set HEPAR_JOBS__DATABASE to a postgresql:// address"
        )
    return importlib.import_module(f"{BUNDLED}.dbapi2")


def _sqlite_message(url: URL, reason: str) -> str:
    file = url.database
    if "locked" in reason:
        return (
            f"the job store {file} is locked by another program; end that program, such as a"
            " backup or an sqlite3 shell, and start again"
        )
    if "malformed" in reason or "not a database" in reason:
        return (
            f"the job store {file} is damaged; move it away (mv '{file}' '{file}.damaged') and"
            " start again: every series in the spool is queued anew"
        )
    if "full" in reason:
        return f"no space for the job store {file}; free space on that disk"
    return (
        f"the job store {file} cannot be used: {reason}; let this user write that file and its"
        " folder"
    )


def _server_message(url: URL, reason: str) -> str:
    place = url.render_as_string(hide_password=True)
    return (
        f"the job store at {place} cannot be used: {reason}; start that server, or correct"
        " HEPAR_JOBS__DATABASE"
    )


def _rights_message(url: URL, reason: str) -> str:
    place = url.render_as_string(hide_password=True)
    return (
        f"the job store at {place} refuses this to its role: {reason}; at a start,"
        " tables or rights are missing, or older than this release: run `hepar migrate` and"
        " deploy/postgres/roles.sql as the owner of the tables. Commands on jobs need the role of"
        " the workers"
    )
