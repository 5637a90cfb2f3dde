"""Debian's PostgreSQL on loopback, in a folder of its own."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from deploy.stack.errors import DidNotStart, Missing
from deploy.stack.process import ENVIRONMENT, Process

PLACES = Path("/usr/lib/postgresql")
"""Where Debian has the programs of each version; only some of them are in PATH."""

RIGHTS = Path(__file__).resolve().parents[1] / "postgres" / "roles.sql"
"""Makes a role in PostgreSQL for each role of a cluster."""

USER = "postgres"
"""Debian's user for the server, which refuses to run as root."""

FOR_USER = Path("/var/tmp")
"""Where the server's files are kept if root starts it: that user may not enter root's folders."""


class Postgres(Process):
    """A server with a database `hepar`."""

    def __init__(self, folder: Path, port: int) -> None:
        """Start the server, for the first time in `folder` after it was set up there.

        Raises:
            Missing: PostgreSQL is not installed.
            DidNotStart: its files could not be made.
        """
        self._port, self.data = port, data_folder(folder)
        if not (self.data / "PG_VERSION").exists():
            self._set_up()
        options = ["-h", "127.0.0.1", "-p", str(port), "-k", ""]  # "": no socket in /run
        command = [program("postgres"), "-D", str(self.data), *options]
        log = folder / "postgres.log"
        super().__init__("postgres", as_user(command), f"tcp://127.0.0.1:{port}", log)

    def address(self, role: str = "hepar") -> str:
        """Return the address of the database for a role; by default the owner of the tables."""
        return f"postgresql://{role}@127.0.0.1:{self._port}/hepar"

    def answers(self) -> bool:
        """Return whether the server takes queries; at first a connection is not enough."""
        asked = [program("pg_isready"), "--quiet", "-h", "127.0.0.1", "-p", str(self._port)]
        return subprocess.run(asked).returncode == 0

    def make_database(self) -> None:
        """Make the database, unless it is there.

        Raises:
            DidNotStart: it cannot be made.
        """
        at = ["-h", "127.0.0.1", "-p", str(self._port), "-U", "hepar"]
        made = subprocess.run([program("createdb"), *at, "hepar"], capture_output=True, text=True)
        if made.returncode and "already exists" not in made.stderr:
            raise DidNotStart(f"no database: {made.stderr.strip()}")

    def make_roles(self, hepar: str) -> None:
        """Make the tables by the program `hepar`, and the roles; both may be there already.

        Raises:
            DidNotStart: they cannot be made.
        """
        environment = {**ENVIRONMENT, "HEPAR_JOBS__DATABASE": self.address()}
        psql = [program("psql"), "--quiet", "--file", str(RIGHTS), self.address()]
        for command in ([hepar, "migrate"], psql):
            made = subprocess.run(command, env=environment, capture_output=True, text=True)
            if made.returncode:
                raise DidNotStart(f"no tables or roles: {made.stderr.strip()}")

    def _set_up(self) -> None:
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.getuid() == 0:
            shutil.chown(self.data, USER)
        # Trust: it listens on loopback only, for the programs of this machine.
        options = ["--pgdata", str(self.data), "--username", "hepar", "--auth", "trust"]
        command = as_user([program("initdb"), *options, "--encoding", "UTF8", "--no-locale"])
        made = subprocess.run(command, capture_output=True, text=True, cwd="/")
        if made.returncode:
            raise DidNotStart(f"PostgreSQL cannot be set up in {self.data}: {made.stderr.strip()}")


def data_folder(folder: Path) -> Path:
    """Return where the server of a cluster keeps its files."""
    if os.getuid() != 0:
        return folder / "postgres"
    return FOR_USER / f"hepar-cluster-{hashlib.sha256(bytes(folder)).hexdigest()[:12]}"


def program(name: str) -> str:
    """Return a program of the newest version that is installed.

    Raises:
        Missing: there is none.
    """
    found = sorted(PLACES.glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    if not found:
        raise Missing("PostgreSQL is not installed; sudo apt-get install postgresql")
    return str(found[-1])


def as_user(command: list[str]) -> list[str]:
    """Return a command as the server's user runs it."""
    if os.getuid() != 0:
        return command
    # It becomes the program, so that its process id is the server's.
    return ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", *command]
