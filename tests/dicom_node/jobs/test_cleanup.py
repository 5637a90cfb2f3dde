"""Rounds of the clean-up."""

import threading
from datetime import timedelta

import pytest

from dicom_node.data_folder import DataFolder
from dicom_node.errors import UnknownJob
from dicom_node.jobs import cleanup
from dicom_node.jobs.cleanup import cleaning_up
from dicom_node.receive.spool import Spool


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "trouble",
    [OSError(5, "Input/output error"), UnknownJob("the store is gone"), KeyError("Doe^Jane")],
)
def test_a_round_that_fails_is_not_the_last(tmp_path, monkeypatch, caplog, trouble):
    rounds, twice = [], threading.Event()

    def fail(url):
        rounds.append(url)
        if len(rounds) == 2:
            twice.set()
        raise trouble

    monkeypatch.setattr(cleanup, "INTERVAL_S", 0.01)
    monkeypatch.setattr(cleanup, "open_ledger", fail)
    with cleaning_up("", Spool(tmp_path / "spool"), DataFolder(tmp_path), timedelta()):
        assert twice.wait(5)
    assert "clean-up failed, will be tried again: " in caplog.text
    assert "Doe" not in caplog.text
