"""Signals that ask a process to end."""

import os
import signal

import pytest

from dicom_node.node.stop_signals import stop_signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_can_be_read_and_the_handlers_are_put_back(number):
    before = signal.getsignal(number)
    with stop_signals() as told:
        os.kill(os.getpid(), number)
        assert told.recv(1) == bytes([number])
    assert signal.getsignal(number) is before
