"""The project as it was at an earlier commit, to measure it beside today's in one run."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def check_out(commit: str, names: list[str], folder: Path) -> str:
    """Write folders of a commit to a new folder; return why that is impossible, if it is."""
    command = ["git", "-C", str(ROOT), "archive", commit, *names]
    made = subprocess.run(command, capture_output=True, check=False)
    if made.returncode:
        return f"git has no {commit} here: {made.stderr.decode().strip()}"
    folder.mkdir()
    subprocess.run(["tar", "-x", "-C", str(folder)], input=made.stdout, check=True)
    return ""


def measured_by(child: str, source: Path, *arguments: str) -> Any:
    """Run a program of this folder with the project in `source`, on one thread; return its JSON."""
    environment = os.environ | {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(Path(__file__).with_name(child)), *arguments]
    made = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return json.loads(made.stdout)
