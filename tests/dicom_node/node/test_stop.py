"""Stopping at a signal."""

import signal
import subprocess
import sys

from tests.waiting import GENEROUS_S

HANGING = """
import gc
import threading
from contextlib import contextmanager
from dicom_node.node import node

@contextmanager
def hanging():
    print("runs", flush=True)
    yield
    print(gc.get_freeze_count() > 100_000, flush=True)
    threading.Event().wait()

node.STOP_S = 0.2
node.run_until_signal(hanging())
"""


def test_a_process_that_cannot_stop_ends_and_shows_what_it_waits_for():
    with subprocess.Popen(
        [sys.executable, "-c", HANGING], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout.readline() == "runs\n"
            process.send_signal(signal.SIGTERM)
            printed, shown = process.communicate(timeout=GENEROUS_S)
        finally:
            process.kill()
    assert process.returncode == 1
    assert printed == "True\n"  # collections leave out what the start has made
    assert "Timeout" in shown
    assert "in hanging" in shown
