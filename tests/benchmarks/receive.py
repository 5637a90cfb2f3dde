"""Slices received per second, beside an SCP that stores nothing, in the same run."""

import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from tests.benchmarks.marks import Mark, at_least
from tests.benchmarks.phantoms import phantom_files
from tests.system.servers import HeparNode, Server, echoes, free_port, storescu

SLICES = 300
ROUNDS = 5


class BareScp(Server):
    """`bare_scp` as a process of its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "bare")
        self.port = free_port()

    def command(self) -> list[str]:
        return [sys.executable, "-m", "tests.benchmarks.bare_scp", str(self.port)]

    def answers(self) -> bool:
        return echoes(self.port)


def measure(folder: Path) -> Iterator[Mark]:
    """Send the same slices to both in turn; a new node each time, so that every file is new."""
    files = phantom_files(folder, SLICES)
    pairs = [
        (_node_rate(folder / f"node{i}", files), _bare_rate(folder, files)) for i in range(ROUNDS)
    ]
    ours, bare = (median(rates) for rates in zip(*pairs, strict=True))
    ratio = median(node / scp for node, scp in pairs)
    yield at_least("receive: beside a bare SCP", 0.8, ratio, f"({ours:.0f} : {bare:.0f} slices/s)")
    yield at_least("receive: slices/s", 200, ours)


def _node_rate(folder: Path, files: list[Path]) -> float:
    with HeparNode(folder, peers="", quiet_s=3600) as node:
        rate = _rate(node.port, files)
    shutil.rmtree(folder)
    return rate


def _bare_rate(folder: Path, files: list[Path]) -> float:
    with BareScp(folder) as scp:
        return _rate(scp.port, files)


def _rate(port: int, files: list[Path]) -> float:
    begun = time.perf_counter()
    storescu(port, files, called="HEPAR")
    return len(files) / (time.perf_counter() - begun)
