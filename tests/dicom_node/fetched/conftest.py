import pytest

from dicom_node.fetched.transfer import download
from tests.dicom_node.cluster.conftest import engine, pytest_collection_modifyitems  # noqa: F401
from tests.dicom_node.fetched.lender import lender


@pytest.fixture
def gateway(tmp_path):
    with lender(tmp_path / "gateway") as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch):
    monkeypatch.setattr(download, "PAUSE_S", 0.001)
