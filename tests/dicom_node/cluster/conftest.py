"""A PostgreSQL for the tests of this folder, which are skipped where there is none."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from dicom_node.cluster.tables import shared_tables
from tests.system.postgres import Postgres, postgres_program


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = [item for item in items if item.path.is_relative_to(Path(__file__).parent)]
    for item in here:
        if postgres_program("initdb") is None and "engine" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.skip("needs Debian's postgresql"))


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    with Postgres() as postgres, shared_tables(postgres.url) as engine:
        yield engine
