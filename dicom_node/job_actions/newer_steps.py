"""Work that waits for a worker of a newer release, beside workers of older ones alone."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from sqlalchemy import Engine, create_engine, inspect, make_url

from dicom_node.cluster.membership import Membership
from dicom_node.cluster.tables import steps
from dicom_node.cluster.takeover import alone, moves_in, served
from dicom_node.config.cluster_section import Files
from dicom_node.config.settings import Settings
from dicom_node.data_folder import DataFolder
from dicom_node.errors import AlreadyRunning
from dicom_node.jobs.ledger import Ledger
from dicom_node.jobs.other_steps import (
    OF_THIS_RELEASE,
    Served,
    give_to_older,
    waiting_for_newer,
)
from dicom_node.jobs.store import connectable, faults_named

TRIES, TRY_S = 20, 0.5
"""Looks at whether a worker moves work, and seconds between two of them."""


def waiting(settings: Settings, ledger: Ledger) -> str:
    """Return that work waits for a newer worker, and the remedy; nothing where none does."""
    with _served(settings) as found:
        return waiting_for_newer(ledger.queued(folder_of(settings)), found)


def move(settings: Settings, ledger: Ledger) -> list[str]:
    """Give what waits for a newer worker to the newest that there is; return what was moved.

    Raises:
        AlreadyRunning: a worker moves work in this moment.
    """
    with _served(settings, moving=True) as found:
        return give_to_older(ledger.queued(folder_of(settings)), found)


def folder_of(settings: Settings) -> str:
    """Return the name of the data folder, which queues bear; that of a cluster which shares none.

    Empty where no node has run.
    """
    if settings.cluster.files is Files.FETCHED:
        return settings.cluster.name
    return DataFolder(settings.node.data).name


@contextmanager
def _served(settings: Settings, *, moving: bool = False) -> Iterator[Served]:
    """Yield what is taken by processes here, and let no worker move work meanwhile if asked."""
    url = settings.database_url
    if make_url(url).get_backend_name() != "postgresql":
        yield OF_THIS_RELEASE
        return
    engine, folder = create_engine(connectable(url)), folder_of(settings)
    try:
        with faults_named(url):
            # Not made here: `hepar serve` on a PostgreSQL has none.
            there = inspect(engine).has_table(steps.name, schema=steps.schema)
            found = Membership(engine, folder).all() if there else []
        living = [each for each in found if each.alive]
        taken = served(living, apart=settings.cluster.deliver_apart)
        known = taken if found else OF_THIS_RELEASE
        with _locked(engine, folder) if moving else nullcontext():
            yield known
    finally:
        engine.dispose()


@contextmanager
def _locked(engine: Engine, folder: str) -> Iterator[None]:
    """Let no worker move work while the block lasts.

    Raises:
        AlreadyRunning: one does, and did not end in time.
    """
    for _ in range(TRIES):
        with alone(engine, moves_in(folder)) as is_alone:
            if is_alone:
                yield
                return
        time.sleep(TRY_S)
    raise AlreadyRunning("a worker moves jobs in this moment; repeat the command")
