"""Until when `hepar serve` runs."""

import os
import signal
import sys
import threading
from contextlib import contextmanager

import pytest

from dicom_node.node import node


@pytest.fixture
def signals():
    """Give the process its handlers back."""
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    yield
    for each, handler in before.items():
        signal.signal(each, handler)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_node_ends_when_it_is_told(monkeypatch, signals, number):
    ended = []

    @contextmanager
    def working(opened):
        threading.Timer(0.1, os.kill, (os.getpid(), number)).start()
        yield
        ended.append(opened)

    monkeypatch.setattr(node, "working", working)
    node.serve("a node")
    assert ended == ["a node"]


@pytest.mark.timeout(20)
def test_a_node_told_twice_in_any_moment_ends(monkeypatch, signals):
    """Each line of Python on the way into the wait is one where a signal may come."""

    def tell(frame, event, _):
        if frame.f_code.co_filename == threading.__file__:
            os.kill(os.getpid(), signal.SIGTERM)
        return tell

    @contextmanager
    def working(opened):
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
        traced = sys.gettrace()
        sys.settrace(tell)
        yield
        sys.settrace(traced)

    monkeypatch.setattr(node, "working", working)
    node.serve("a node")
