"""A disk for all tests here."""

import pytest

from tests.power_cut.powered import Powered, why_not


@pytest.fixture(scope="session")
def powered(tmp_path_factory):
    """A disk whose power can be cut; without FUSE its tests are skipped."""
    if reason := why_not():
        pytest.skip(reason)
    with Powered(tmp_path_factory.mktemp("power") / "disk") as powered:
        yield powered
