"""What a page and a correction fetch of results that lie elsewhere."""

from datetime import timedelta

import pytest

from dicom_node.data_folder import DataFolder
from dicom_node.errors import GatewayAway
from dicom_node.fetched.borrowing import AWAY_S, SHOWN, Borrowing, BorrowingFolder
from dicom_node.fetched.cache import Cache
from tests.dicom_node.fetched.lender import JOB, holder
from tests.system.servers import free_port


class Found:
    """Stands for `Gateways`."""

    def __init__(self, one):
        self.one = one

    def named(self, name):
        assert name == "receive-1"
        return self.one


@pytest.fixture
def now():
    return [0.0]


@pytest.fixture
def borrowing(gateway, tmp_path, now):
    for name in (f"{JOB}.png", f"{JOB}.report.html", f"{JOB}.dcm", f"{JOB}.labels.npz"):
        (gateway.data.results / name).write_bytes(name.encode())
    cache = Cache(tmp_path / "fetched", 1 << 30, timedelta(hours=1))
    own = DataFolder(tmp_path / "own")
    own.results.mkdir(parents=True)
    return Borrowing(Found(gateway.holder), cache, own, "receive-2", lambda: now[0])


def test_a_page_fetches_pictures_and_reports_and_nothing_else(borrowing):
    data = borrowing.shown(JOB, "receive-1")
    assert [path.read_bytes().decode() for path in data.pictures_of(JOB)] == [f"{JOB}.png"]
    assert {path.suffix for path in data.results.iterdir()} == {*SHOWN}


def test_what_the_gateway_made_anew_or_removed_is_so_here(borrowing, gateway):
    borrowing.shown(JOB, "receive-1")
    (gateway.data.results / f"{JOB}.png").write_bytes(b"anew")
    (gateway.data.results / f"{JOB}.report.html").unlink()
    data = borrowing.shown(JOB, "receive-1")
    assert {path.name: path.read_bytes() for path in data.results.iterdir()} == {
        f"{JOB}.png": b"anew"
    }


def test_what_lies_here_is_not_fetched(borrowing):
    assert borrowing.shown(JOB, "receive-2") == borrowing.own


def test_a_page_shows_less_while_a_gateway_is_away_and_asks_it_seldom(borrowing, gateway, now):
    borrowing.gateways.one = holder("receive-1", free_port())
    assert borrowing.shown(JOB, "receive-1").pictures_of(JOB) == []
    borrowing.gateways.one = gateway.holder
    assert borrowing.shown(JOB, "receive-1").pictures_of(JOB) == []
    now[0] = AWAY_S
    assert borrowing.shown(JOB, "receive-1").pictures_of(JOB) != []


def test_kept_labels_are_those_of_the_gateway_that_holds_them(borrowing):
    folder = BorrowingFolder(borrowing.own.folder, borrowing, {JOB: "receive-1"}.get)
    (labels,) = folder.kept_labels_of(JOB)
    assert labels.read_bytes() == f"{JOB}.labels.npz".encode()
    assert folder.kept_labels_of("0" * 16) == []


def test_a_correction_waits_for_the_gateway_that_has_its_labels(borrowing):
    borrowing.gateways.one = holder("receive-1", free_port())
    folder = BorrowingFolder(borrowing.own.folder, borrowing, lambda job: "receive-1")
    with pytest.raises(GatewayAway):
        folder.kept_labels_of(JOB)
