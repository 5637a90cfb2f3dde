"""Until when `hepar serve` runs; in a process of its own, since signals go to a whole process."""

import signal
import subprocess
import sys

import pytest

ENDS_ON_A_SIGNAL = """
import os, sys, threading
from contextlib import contextmanager
from dicom_node.node import node

@contextmanager
def working(opened):
    threading.Timer(0.1, os.kill, (os.getpid(), int(sys.argv[1]))).start()
    yield
    print("ended", opened)

node.working = working
node.serve("a node")
"""

SIGNALLED_AT_EVERY_LINE = """
import os, signal, sys, threading
from contextlib import contextmanager
from dicom_node.node import node

def signalled(frame, event, _):
    if frame.f_code.co_filename == threading.__file__:
        os.kill(os.getpid(), signal.SIGTERM)
    return signalled

@contextmanager
def working(opened):
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
    sys.settrace(signalled)
    yield
    sys.settrace(None)
    print("ended", opened)

node.working = working
node.serve("a node")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_node_ends_when_it_is_told(number):
    assert _printed(ENDS_ON_A_SIGNAL, str(int(number))) == "ended a node\n"


def test_a_node_told_twice_in_any_moment_ends():
    """Each line of Python on the way into the wait is one where a signal may come."""
    assert _printed(SIGNALLED_AT_EVERY_LINE) == "ended a node\n"


def _printed(script, *arguments):
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
