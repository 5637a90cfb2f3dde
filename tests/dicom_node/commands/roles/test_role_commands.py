"""The commands of a cluster's roles, as far as they go without a PostgreSQL."""

import pytest
from typer.testing import CliRunner

from dicom_node.errors import BadConfiguration
from dicom_node.main import build


@pytest.mark.parametrize("role", ["receive", "work", "deliver", "web"])
def test_a_role_with_an_sqlite_store_ends_with_a_remedy(role, tmp_path, monkeypatch):
    monkeypatch.setenv("HEPAR_NODE__DATA", str(tmp_path / "data"))
    asked = CliRunner().invoke(build(), [role])
    assert isinstance(asked.exception, BadConfiguration)
    said = str(asked.exception)
    assert said.startswith(f"`hepar {role}` shares its jobs with other processes")
    assert "set HEPAR_JOBS__DATABASE to a postgresql:// address, or run `hepar serve`" in said
    assert not (tmp_path / "data").exists()  # nothing was begun


@pytest.mark.parametrize("role", ["receive", "work", "deliver", "web"])
def test_a_role_states_what_it_shares(role, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    asked = CliRunner().invoke(build(), [role, "--help"])
    assert "PostgreSQL (jobs.database)" in " ".join(asked.output.split())


def test_an_sqlite_store_is_not_migrated_by_hand(tmp_path, monkeypatch):
    monkeypatch.setenv("HEPAR_NODE__DATA", str(tmp_path / "data"))
    asked = CliRunner().invoke(build(), ["migrate"])
    assert isinstance(asked.exception, BadConfiguration)
    assert "set HEPAR_JOBS__DATABASE to a postgresql:// address" in str(asked.exception)
    assert not (tmp_path / "data").exists()
