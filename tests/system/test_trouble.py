"""The archive is away, the node is killed: nothing is lost, nothing arrives twice."""

import time
from pathlib import Path

import pytest

from engine.shipped import model_folder
from tests.system.conftest import Series
from tests.system.servers import HeparNode, Orthanc, storescu
from tests.waiting import wait_until

SETTLED_S = 3.0
"""By then a second SEG would have come too."""


@pytest.fixture
def liver(real_series: Series) -> list[Path]:
    """Slices of a real series with liver: enough for every stage to take its time."""
    return real_series("lits0")[24:50]


def node_at(folder: Path, peer: str) -> HeparNode:
    """A node with the model that is quickest."""
    return HeparNode(folder, peer, model=model_folder("fast"))


@pytest.mark.parametrize("kind", ["store", "stow"])
def test_an_archive_that_comes_back_gets_its_seg(kind: str, liver: list[Path], tmp_path: Path):
    archive = Orthanc(tmp_path / "archive")
    with node_at(tmp_path / "node", archive.peer(kind)) as node:
        storescu(node.port, liver, called="HEPAR")
        wait_until(lambda: "not delivered yet" in node.tail())
        with archive:
            wait_until(lambda: len(archive.segmentations()) == 1)


@pytest.mark.parametrize("stage", ["store", "queue", "read", "write", "verify", "deliver"])
def test_a_node_killed_after_any_stage_delivers_exactly_one_seg(
    stage: str, liver: list[Path], tmp_path: Path
):
    archive = Orthanc(tmp_path / "archive")
    node = node_at(tmp_path / "node", archive.peer("store"))
    with archive, node:
        storescu(node.port, liver, called="HEPAR")
        if stage != "store":
            wait_until(lambda: f"action={stage} " in node.log.read_text(), what=stage)
        node.kill()
        node.start()
        wait_until(lambda: len(archive.segmentations()) > 0, 480)
        time.sleep(SETTLED_S)
        assert len(archive.segmentations()) == 1
