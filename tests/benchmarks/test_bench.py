"""`make bench` as a whole; what each measurement does is seen when it runs."""

import json
import os
import signal
import sys
from concurrent.futures.process import BrokenProcessPool

import pytest

from tests.benchmarks import bench
from tests.benchmarks.marks import Mark


def test_a_measurement_that_fails_keeps_no_other_from_running(tmp_path, monkeypatch):
    def apart(measured, name, folder):
        (folder / "before").mkdir()  # each has its own folder
        if name == "start":
            raise RuntimeError("no such commit")
        return [Mark(name, "1", "1", met=True)]

    monkeypatch.setattr(bench, "_apart", apart)
    monkeypatch.setattr(bench, "RESULTS", tmp_path / "bench" / "marks.json")
    monkeypatch.setattr(sys, "argv", ["bench", "receive", "start", "stages"])
    with pytest.raises(SystemExit) as raised:
        bench.main()
    assert raised.value.code == 1
    marks = json.loads((tmp_path / "bench" / "marks.json").read_text())
    assert [(each["what"], each["measured"], each["met"]) for each in marks] == [
        ("receive", "1", True),
        ("start", "failed: RuntimeError", None),
        ("stages", "1", True),
    ]


def dying(name, folder):
    os.kill(os.getpid(), signal.SIGSEGV)


def met(name, folder):
    return [Mark(name, "1", str(folder), met=True)]


def test_a_measurement_that_dies_takes_no_other_along(tmp_path):
    with pytest.raises(BrokenProcessPool):
        bench._apart(dying, "feeding", tmp_path)
    assert bench._apart(met, "start", tmp_path) == [Mark("start", "1", str(tmp_path), met=True)]
