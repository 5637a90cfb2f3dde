"""Many jobs with every ending, and the clean-up after them: nothing is left, nothing grows.

A few in the suite; `HEPAR_MANY=1000` makes more, as `make soak` does.
"""

import os
import sqlite3
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE
from sqlalchemy import create_engine, inspect, text

from dicom_node.config.settings import Settings
from dicom_node.data_folder import DataFolder
from dicom_node.jobs.ledger import open_ledger
from dicom_node.jobs.state import State
from dicom_node.jobs.store import connectable
from dicom_node.jobs.upkeep.cleanup import sweep
from dicom_node.node.node import running_node, to_retention
from dicom_node.receive.spool import Spool
from engine.errors import EngineError
from tests.conftest import make_ct_series
from tests.dicom_node.node_process import Thresholds
from tests.engine.toy_model import write_toy_model
from tests.waiting import wait_until

JOBS = int(os.environ.get("HEPAR_MANY", "20"))
LIVER_HU, BROKEN_HU = 100, 131
SENDER = AE("CT")
SENDER.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)


class Breaks(Thresholds):
    """A device that fails where it meets `BROKEN_HU`."""

    def run(self, hu, spacing_mm):
        if (hu == BROKEN_HU).any():
            raise EngineError("the device broke; restart the node")
        return super().run(hu, spacing_mm)


@pytest.fixture
def settings(tmp_path):
    return Settings(
        node={"data": tmp_path / "data", "port": 0},
        receive={"quiet_s": 0.2, "keep_free_mb": 0},
        engine={"model": write_toy_model(tmp_path / "model")},
        select={"exclude": {"SeriesDescription": "scout"}},
    )


def with_liver(**changes):
    series = make_ct_series(4)
    for instance in series:
        instance.update(changes)
        fill(instance, LIVER_HU)
    return series


def fill(instance, hu):
    instance.PixelData = np.full((16, 20), hu + 1024, np.uint16).tobytes()


def that_breaks():
    series = with_liver()
    fill(series[1], BROKEN_HU)
    return series


KINDS = {
    State.DONE: with_liver,
    State.NOTHING_FOUND: lambda: make_ct_series(4),
    State.NOT_SELECTED: lambda: with_liver(SeriesDescription="scout"),
    State.REFUSED: lambda: with_liver(RescaleSlope=0),
    State.FAILED: that_breaks,
}


def send(node, series):
    association = SENDER.associate(*node.address)
    for instance in series:
        assert association.send_c_store(instance).Status == 0x0000
    association.release()


def one_of_each(node, ledger):
    """Send a series of each kind, and the first once more with another slice; return the states."""
    before = {job.id for job in ledger.jobs()}
    series = {kind: make() for kind, make in KINDS.items()}
    for each in series.values():
        send(node, each)

    def ended(number):
        jobs = [job for job in ledger.jobs() if job.id not in before]
        return len(jobs) == number and not any(job.state.active for job in jobs)

    wait_until(lambda: ended(len(KINDS)))
    changed = series[State.DONE]
    fill(changed[0], LIVER_HU + 1)
    send(node, changed)
    wait_until(lambda: ended(len(KINDS) + 1))
    return Counter(job.state for job in ledger.jobs() if job.id not in before)


def clean_up(settings, ledger):
    """Remove everything, as rounds in some years would."""
    data = DataFolder(settings.node.data)
    for years in (3, 6):  # files first, and the rows in a later round
        later = datetime.now(UTC) + timedelta(days=years * 365)
        sweep(ledger, Spool(data.spool), data, to_retention(settings), later)


def rows(file):
    """The number of rows in each table of an SQLite file."""
    # By the library that the node uses: another one in its process would break its locks.
    engine = create_engine(connectable(f"sqlite:///{file}"))
    try:
        with engine.connect() as store:
            return {
                name: store.execute(text(f'SELECT count(*) FROM "{name}"')).scalar()
                for name in inspect(engine).get_table_names()
            }
    finally:
        engine.dispose()


def numbers_in(file):
    """The rows of the register of Series Numbers, which opens its file as Python does."""
    with closing(sqlite3.connect(file)) as store:
        return store.execute("SELECT * FROM series_numbers").fetchall()


def files_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_after_many_jobs_and_their_retention_nothing_is_left(settings):
    data = DataFolder(settings.node.data)
    stores = data.folder / "jobs.sqlite", data.numbers
    with (
        running_node(settings, open_device=lambda model, settings: Breaks()) as node,
        open_ledger(settings.database_url) as ledger,
    ):
        at_first, sizes = [rows(stores[0])], []
        for _ in range(max(2, JOBS // (len(KINDS) + 1))):
            states = one_of_each(node, ledger)
            assert states == {**dict.fromkeys(KINDS, 1), State.SUPERSEDED: 1}
            clean_up(settings, ledger)
            assert ledger.jobs() == []
            assert rows(stores[0]) == at_first[0]
            assert not any(numbers_in(data.numbers))
            sizes.append(sum(store.stat().st_size for store in stores))
        for folder in (data.spool, data.results, data.delivered, data.crashes, data.tries):
            assert files_in(folder) == []
        assert sizes[-1] <= 1.1 * sizes[0]
