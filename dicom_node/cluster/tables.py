"""Tables of a cluster in the PostgreSQL of its job store, in a schema of their own."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Engine,
    Integer,
    MetaData,
    Sequence,
    Table,
    Text,
    create_engine,
    false,
    func,
    inspect,
    select,
    text,
)
from sqlalchemy.schema import CreateSchema

from dicom_node.jobs.store import connectable, faults_named

_schema = MetaData(schema="hepar")

members = Table(
    "members",
    _schema,
    Column("folder", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("token", Text, nullable=False),
    Column("started", DateTime(timezone=True), server_default=func.now(), nullable=False),
    Column("beat", DateTime(timezone=True), server_default=func.now(), nullable=False),
)
"""Processes that share a data folder. `beat` is by the server's clock, as all times here are."""

drains = Table(
    "drains",
    _schema,
    Column("folder", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("drained", Boolean, server_default=false(), nullable=False),
)
"""Processes that take nothing new. `drained`: they have nothing left, either. A table of its own:
`members` may be there from an earlier version."""

steps = Table(
    "steps",
    _schema,
    Column("folder", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("token", Text, nullable=False),
    Column("version", Text, nullable=False),
)
"""Versions of the steps that processes work with, as long as `token` is that of `members`."""

parts = Table(
    "parts",
    _schema,
    Column("folder", Text, primary_key=True),
    Column("study_uid", Text, primary_key=True),
    Column("series_uid", Text, primary_key=True),
    Column("gateway", Text, primary_key=True),
    Column("again", Boolean, server_default=false(), nullable=False),
)
"""Series of which more instances may come, and at which gateway. `again`: another gateway has left
its instances to this one, which must not end its part without a look at the spool."""

expectations = Table(
    "expectations",
    _schema,
    Column("folder", Text, primary_key=True),
    Column("series_uid", Text, primary_key=True),
    Column("instances", Integer, nullable=False),
)
"""Announced numbers of instances."""

epoch_numbers = Sequence("epoch_numbers", metadata=_schema)
"""Each run of a job takes the next number, so that no two have the same."""

epochs = Table(
    "epochs",
    _schema,
    Column("folder", Text, primary_key=True),
    Column("job", Text, primary_key=True),
    Column("epoch", BigInteger, nullable=False),
    Column("committed", BigInteger),
)
"""Runs of jobs: the one that began last, and the last one whose files were made the result."""

addresses = Table(
    "addresses",
    _schema,
    Column("folder", Text, primary_key=True),
    Column("gateway", Text, primary_key=True),
    Column("url", Text, nullable=False),
)
"""Where each gateway lends its files, in a cluster without a shared folder. There `folder` is the
name of the cluster, here and above."""

holdings = Table(
    "holdings",
    _schema,
    Column("folder", Text, primary_key=True),
    Column("study_uid", Text, primary_key=True),
    Column("series_uid", Text, primary_key=True),
    Column("gateway", Text, primary_key=True),
    Column("noted", DateTime(timezone=True), server_default=func.now(), nullable=False),
)
"""Gateways that hold instances of a series, in such a cluster."""

series_numbers = Table(
    "series_numbers",
    _schema,
    Column("folder", Text, primary_key=True),
    Column("study_uid", Text, primary_key=True),
    Column("series_uid", Text, primary_key=True),
    Column("number", Integer, nullable=False),
)
"""Series Numbers in use, in such a cluster."""

MAKING = 4_718_211
"""Key of the advisory lock under which the tables are made: CREATE IF NOT EXISTS has a race."""


@contextmanager
def shared_tables(database_url: str) -> Iterator[Engine]:
    """Make the tables unless they are there; connect to them while the block lasts.

    Raises:
        StoreUnusable: the server is away, or the role may neither make nor read the tables; the
            message names the remedy.
    """
    # A connection that the server closed when it restarted is replaced, not met as an error.
    engine = create_engine(connectable(database_url), pool_pre_ping=True)
    try:
        with faults_named(database_url), engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MAKING})
            # Not IF NOT EXISTS, for which a role needs the right to make one.
            if not inspect(connection).has_schema(str(_schema.schema)):
                connection.execute(CreateSchema(str(_schema.schema)))
            _schema.create_all(connection)
            # A role without any right here is refused now, and not at its first heartbeat.
            connection.execute(select(members).limit(0))
        yield engine
    finally:
        engine.dispose()
