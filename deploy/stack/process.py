"""A program in the background: started, waited for, and stopped by its process id."""

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from deploy.stack.errors import DidNotStart

# Mostly the node's, which loads its model and opens a device before it answers.
READY_S = 120.0
STOP_S = 20.0
LOOK_S = 0.05

ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}
"""Without it Orthanc waits 40 ms per object."""


class Process:
    """A program whose output goes to `log`, and which is ready once `url` answers.

    Of tcp://host:port a connection is enough.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        url: str,
        log: Path,
        environment: Mapping[str, str] = ENVIRONMENT,
    ) -> None:
        self.name, self.url, self.log = name, url, log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the stack, which ends all in order
            )

    @property
    def pid(self) -> int:
        """Process id of the program."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the program has not ended."""
        return self._process.poll() is None

    def wait_until_ready(self) -> None:
        """Return once the program answers.

        Raises:
            DidNotStart: it ended, or takes too long.
        """
        deadline = time.monotonic() + READY_S
        while not self.answers():
            if not self.running:
                raise DidNotStart(f"{self.name} ended at once:\n{self.tail()}")
            if time.monotonic() > deadline:
                raise DidNotStart(f"{self.name} did not answer {self.url} in {READY_S:.0f} s")
            time.sleep(LOOK_S)

    def stop(self) -> None:
        """Ask the program to end, and make it end if it does not."""
        if self.running:
            # The whole group, which `start_new_session` made: nginx has workers.
            os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def tail(self) -> str:
        """Return the last lines of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])

    def answers(self) -> bool:
        """Return whether the program can be used now."""
        address = urlsplit(self.url)
        try:
            if address.scheme == "tcp":
                place = str(address.hostname), int(address.port or 0)
                with socket.create_connection(place, timeout=2):
                    return True
            with urllib.request.urlopen(self.url, timeout=2):
                return True
        # It answers, but is not ready: nginx says 502 while what is behind it starts.
        except urllib.error.HTTPError as error:
            error.close()
            return False
        except OSError:
            return False
