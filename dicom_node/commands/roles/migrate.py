"""`hepar migrate`: the tables of a cluster in PostgreSQL, as this release needs them."""

import typer
from sqlalchemy import make_url

from dicom_node.cluster.tables import shared_tables
from dicom_node.commands.arguments.options import Config, settings
from dicom_node.errors import BadConfiguration
from dicom_node.jobs.dbos_runtime import make_tables


def migrate(config: Config = None) -> None:
    """Make the tables of a cluster in PostgreSQL, or bring them up to this release.

    For clusters whose processes may not: `jobs.database` (HEPAR_JOBS__DATABASE) is the address of
    the role to which the tables belong, and `deploy/postgres/roles.sql` then gives the roles of the
    processes their rights. Where they all have the owner's role, the first that starts does it.
    """
    chosen = settings(config)
    if make_url(chosen.database_url).get_backend_name() != "postgresql":
        raise BadConfiguration(
            "the job store is an SQLite file, whose tables `hepar serve` makes; set"
            " HEPAR_JOBS__DATABASE to a postgresql:// address"
        )
    make_tables(chosen.database_url)
    with shared_tables(chosen.database_url):
        typer.echo("The tables are those of this release.")
