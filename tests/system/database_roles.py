"""Roles with least rights in a PostgreSQL, as `deploy/postgres/roles.sql` makes them."""

from pathlib import Path

from typer.testing import CliRunner

from dicom_node.main import build
from tests.system.postgres import Postgres

RIGHTS = Path(__file__).resolve().parents[2] / "deploy" / "postgres" / "roles.sql"

ROLES = {
    "receive": "hepar_gateway",
    "work": "hepar_worker",
    "deliver": "hepar_deliverer",
    "web": "hepar_page",
}
"""Role in PostgreSQL of each role of a cluster."""


def migrate(server: Postgres) -> None:
    """Make the tables, or bring them up to this release."""
    asked = CliRunner().invoke(build(), ["migrate"], env={"HEPAR_JOBS__DATABASE": server.url})
    assert asked.exit_code == 0, asked.output or asked.exception


def as_role(url: str, role: str) -> str:
    """Return the owner's address as it is for another role."""
    return url.replace("//hepar@", f"//{role}@")


def make_roles(server: Postgres) -> dict[str, str]:
    """Make tables and roles; return the address for each role of a cluster."""
    migrate(server)
    server.sql("-f", RIGHTS)
    return {name: as_role(server.url, role) for name, role in ROLES.items()}
