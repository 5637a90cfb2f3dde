"""Connections to the PostgreSQL that a cluster shares."""

from sqlalchemy import text

from dicom_node.jobs.store import SERVER_PATIENCE


def test_the_server_ends_connections_of_clients_that_vanished(engine):
    with engine.connect() as connection:
        connection.rollback()
        kept = {name: connection.scalar(text(f"SHOW {name}")) for name in SERVER_PATIENCE}
    kept["tcp_user_timeout"] = kept["tcp_user_timeout"].replace("15s", "15000")
    assert kept == SERVER_PATIENCE
