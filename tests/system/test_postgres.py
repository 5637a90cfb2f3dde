"""Nodes whose job store is a PostgreSQL, also one that they share, and one that goes away."""

import time

import pytest

from dicom_node.jobs.ledger import open_ledger
from dicom_node.jobs.state import State
from tests.dicom_node.node_process import NodeProcess
from tests.system.postgres import needs_postgres
from tests.system.small_series import series
from tests.waiting import wait_until

pytestmark = needs_postgres


@pytest.fixture
def make_node(postgres, tmp_path):
    """Make nodes on this store; none outlives its test."""
    made = []

    def make(name="node", **options):
        made.append(Node(tmp_path / name, postgres, **options))
        return made[-1]

    yield make
    for node in made:
        if node.process is not None:
            node.process.kill()


class Node(NodeProcess):
    """A node whose store is a PostgreSQL."""

    def __init__(self, folder, postgres, **options):
        folder.mkdir()
        super().__init__(folder, jobs={"database": postgres.url}, **options)
        self.url = postgres.url

    def jobs(self):
        """Those of its own series."""
        with open_ledger(self.url) as ledger:
            return [job for job in ledger.jobs() if self.data in job.paths[0].parents]

    def states(self):
        return [job.state for job in self.jobs()]


def test_a_series_of_a_node_that_was_killed_ends_as_one_seg(make_node, tmp_path):
    node = make_node(kill_at="segmenting")
    node.start()
    node.peer.send_many(series(tmp_path / "ct"))
    node.process.join(60)
    assert node.process.exitcode == -9
    node.start()
    wait_until(lambda: node.states() == [State.DONE])
    node.stop()
    assert len(list(node.delivered.iterdir())) == 2  # SEG and report


def test_two_nodes_on_one_store_mind_their_own_series(make_node, tmp_path):
    nodes = [make_node(name) for name in ("one", "two")]
    for node in nodes:
        node.start()
    for number, node in enumerate(nodes):
        node.peer.send_many(series(tmp_path / f"ct{number}"))
    for node in nodes:
        wait_until(lambda node=node: node.states() == [State.DONE])
    nodes[0].stop()
    # The other one goes on alone, and takes nothing over.
    nodes[1].peer.send_many(series(tmp_path / "ct2"))
    wait_until(lambda: nodes[1].states() == [State.DONE, State.DONE])
    # So does the one that gets a series which the other has done.
    nodes[1].peer.send_many(sorted((tmp_path / "ct0").iterdir()))
    wait_until(lambda: nodes[1].states() == [State.DONE] * 3)
    nodes[1].stop()
    assert [len(list(node.delivered.iterdir())) for node in nodes] == [2, 6]


def test_a_store_that_goes_away_loses_no_series(postgres, make_node, tmp_path):
    node = make_node()
    node.start()
    postgres.stop()
    node.peer.send_many(series(tmp_path / "ct"))
    time.sleep(3)  # the series is complete by now, and cannot be made a job
    postgres.start()
    wait_until(lambda: node.states() == [State.DONE])
    node.stop()
    assert len(list(node.delivered.iterdir())) == 2
