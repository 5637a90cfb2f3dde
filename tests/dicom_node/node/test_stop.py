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

TOLD_AGAIN = """
import os, signal
from contextlib import contextmanager
from dicom_node.node import node

@contextmanager
def working():
    os.kill(os.getpid(), signal.SIGTERM)
    yield

node.run_until_signal(working())
for number in (signal.SIGTERM, signal.SIGINT):
    os.kill(os.getpid(), number)
print("ended")
"""


def test_a_process_that_is_told_again_while_it_ends_ends_as_it_would():
    ended = subprocess.run(
        [sys.executable, "-c", TOLD_AGAIN], capture_output=True, text=True, timeout=GENEROUS_S
    )
    assert (ended.returncode, ended.stdout) == (0, "ended\n"), ended.stderr


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
