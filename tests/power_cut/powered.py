"""A mounted disk whose power a test cuts."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.power_cut.disk import Cut
from tests.waiting import GENEROUS_S, wait_until

NOW = 0


class Powered:
    """The disk at `folder`, which is kept by a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.power_cut.mount", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def plan(self, cut: Cut, after: int) -> None:
        """Let the power fail at the so-manieth change from now on."""
        self._write({"cut": asdict(cut), "after": after})

    def cut(self, cut: Cut) -> None:
        """Let it fail now, unless it did."""
        self.plan(cut, NOW)

    def wait_for_cut(self) -> None:
        """Return once the power has failed."""
        assert self._read() == "cut"

    def restore(self) -> None:
        """Show what was left."""
        self._write({"restore": True})
        assert self._read() == "restored"

    def slow_down(self, sync_s: float) -> None:
        """Let each sync take so many seconds."""
        self._write({"slow": sync_s})

    def __enter__(self) -> Self:
        wait_until(lambda: self._process.poll() is not None or self.folder.is_mount())
        assert self._process.poll() is None, "the disk could not be mounted"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Lazily: a test that failed may have left a process with open files.
        subprocess.run(["umount", "--lazy", self.folder], check=False, capture_output=True)
        self._process.kill()
        self._process.communicate(timeout=GENEROUS_S)

    def _write(self, line: dict[str, object]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def why_not() -> str:
    """Return why no disk can be mounted here; empty if one can."""
    try:
        import mfusepy  # noqa: F401
    except (ImportError, OSError) as error:  # OSError: libfuse is not installed
        return f"needs Debian's fuse3 and mfusepy: {error}"
    if not Path("/dev/fuse").exists():
        return "needs /dev/fuse"
    return ""
