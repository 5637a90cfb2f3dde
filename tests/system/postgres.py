"""Debian's PostgreSQL on loopback, in a folder of its own."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
import trustme

from tests.system.hosts import Host
from tests.system.servers import free_port
from tests.waiting import wait_until

PLACES = Path("/usr/lib/postgresql")
"""Where Debian has the programs of each version; only some of them are in PATH."""

USER = "postgres"
"""Debian's user for the server, which refuses to run as root."""


def postgres_program(name: str) -> Path | None:
    """Return a program of the newest version that is installed."""
    found = sorted(PLACES.glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    return found[-1] if found else None


needs_postgres = pytest.mark.skipif(
    postgres_program("initdb") is None, reason="needs Debian's postgresql"
)


class Postgres:
    """A server with a database `hepar`, that runs inside of a `with` block."""

    def __init__(
        self,
        authority: trustme.CA | None = None,
        host: Host | None = None,
        port: int = 0,
        copy_of: "Postgres | None" = None,
    ) -> None:
        """Choose a place.

        Args:
            authority: clients need TLS and a password (`passwords`).
            host: where it runs; on this one when absent.
            port: a free one when 0.
            copy_of: the primary, on another host, of which it is a streaming standby.
        """
        self._authority, self._host, self._copy_of = authority, host, copy_of
        self.port = port or free_port()
        self.address = host.address if host else "127.0.0.1"
        self.url = f"postgresql://hepar@{self.address}:{self.port}/hepar"
        # The server's user could not enter pytest's folders.
        self._folder = Path(tempfile.mkdtemp(prefix="hepar-postgres-"))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if os.getuid() == 0:
            shutil.chown(self._folder, USER)
        data = self._folder / "data"
        if self._copy_of is not None:
            self._copy(self._copy_of, data)
            self.start()
            return self
        self._run("initdb", "--pgdata", data, "--username", "hepar", "--auth", "trust", "--no-sync")
        if self._host is not None:
            with (data / "pg_hba.conf").open("a") as rules:
                rules.write("host all all samenet trust\nhost replication all samenet trust\n")
        if self._authority is not None:
            self._require_tls(data, self._authority)
        self.start()
        # By the socket, where no password is needed.
        self._run("createdb", "--host", self._folder, "--port", self.port, "-U", "hepar", "hepar")
        return self

    def sql(self, *arguments: object) -> None:
        """Run psql as the owner, by the socket."""
        where = "--host", self._folder, "--port", self.port, "-U", "hepar", "hepar"
        self._run("psql", "--quiet", "-v", "ON_ERROR_STOP=1", *where, *arguments)

    def _copy(self, primary: "Postgres", data: Path) -> None:
        """Copy a primary to be its standby, for which the primary waits from now on."""
        where = "-h", primary.address, "-p", primary.port, "-U", "hepar"
        self._run("pg_basebackup", *where, "-D", data, "-R", "-c", "fast", "--no-sync")
        # After the copy: once promoted, this one has nobody to wait for.
        primary.sql("-c", "ALTER SYSTEM SET synchronous_standby_names = '*'")
        primary.sql("-c", "SELECT pg_reload_conf()")

    def promote(self) -> None:
        """Make a standby the primary."""
        self._run("pg_ctl", "promote", "--wait", "-D", self._folder / "data")

    def _require_tls(self, data: Path, authority: trustme.CA) -> None:
        """Have the server take connections with TLS and a password alone, but for its socket."""
        own = authority.issue_cert("127.0.0.1")
        key, certificate = data / "server.key", data / "server.crt"
        key.write_bytes(own.private_key_pem.bytes())
        certificate.write_bytes(b"".join(each.bytes() for each in own.cert_chain_pems))
        key.chmod(0o600)
        rules = "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n"
        (data / "pg_hba.conf").write_text(rules)
        with (data / "postgresql.conf").open("a") as settings:
            settings.write("ssl = on\n")
        if os.getuid() == 0:
            for each in (key, certificate):
                shutil.chown(each, USER)

    @property
    def local_url(self) -> str:
        """Address by its socket, which also another host of this machine has."""
        return f"postgresql://hepar@/hepar?host={self._folder}&port={self.port}"

    @property
    def pid(self) -> int:
        """Process id of the server."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the server, and return once it answers."""
        options = "-h", self.address, "-p", str(self.port), "-k", str(self._folder)
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._there, self._program("postgres"), "-D", self._folder / "data", *options],
                stdout=log,
                stderr=log,
                **self._as_user(),
            )
        wait_until(self._answers, what="PostgreSQL's answer")

    def stop(self) -> None:
        """Cut off every client and end the server."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)  # fast shutdown
        self._process.wait()
        self._process = None

    def kill(self) -> None:
        """End the server as it stands."""
        assert self._process is not None
        self._process.send_signal(signal.SIGQUIT)  # immediate shutdown, of its children, too
        self._process.wait()
        self._process = None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self.stop()
        shutil.rmtree(self._folder)

    def _answers(self) -> bool:
        # By the socket, which a pulled cable leaves.
        asked = self._program("pg_isready"), "--quiet", "-h", self._folder, "-p", str(self.port)
        return subprocess.run(asked).returncode == 0

    def _run(self, name: str, *arguments: object) -> None:
        command = [*self._there, self._program(name), *map(str, arguments)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **self._as_user())

    def _program(self, name: str) -> Path:
        program = postgres_program(name)
        assert program is not None
        return program

    def _as_user(self) -> dict[str, str]:
        if os.getuid() != 0:
            return {}
        # Only root may go to another host; `setpriv` makes it the user there.
        user = {} if self._host else {"user": USER}
        return {**user, "cwd": str(self._folder)}

    @property
    def _there(self) -> list[str]:
        """What a command begins with that runs on the server's host."""
        if self._host is None:
            return []
        user = pwd.getpwnam(USER)
        ids = f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"
        return [*self._host.command, "setpriv", *ids]
