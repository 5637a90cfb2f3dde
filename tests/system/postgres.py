"""Debian's PostgreSQL on loopback, in a folder of its own."""

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
import trustme

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

    def __init__(self, authority: trustme.CA | None = None) -> None:
        """Choose a place; with an authority, clients need TLS and a password (`passwords`)."""
        self._authority = authority
        self.port = free_port()
        self.url = f"postgresql://hepar@127.0.0.1:{self.port}/hepar"
        # The server's user could not enter pytest's folders.
        self._folder = Path(tempfile.mkdtemp(prefix="hepar-postgres-"))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if os.getuid() == 0:
            shutil.chown(self._folder, USER)
        data = self._folder / "data"
        self._run("initdb", "--pgdata", data, "--username", "hepar", "--auth", "trust", "--no-sync")
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
    def pid(self) -> int:
        """Process id of the server."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the server, and return once it answers."""
        options = "-h", "127.0.0.1", "-p", str(self.port), "-k", str(self._folder)
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program("postgres"), "-D", self._folder / "data", *options],
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
        asked = self._program("pg_isready"), "--quiet", "-h", "127.0.0.1", "-p", str(self.port)
        return subprocess.run(asked).returncode == 0

    def _run(self, name: str, *arguments: object) -> None:
        command = [self._program(name), *map(str, arguments)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **self._as_user())

    def _program(self, name: str) -> Path:
        program = postgres_program(name)
        assert program is not None
        return program

    def _as_user(self) -> dict[str, str]:
        return {"user": USER, "cwd": str(self._folder)} if os.getuid() == 0 else {}
