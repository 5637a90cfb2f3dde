"""Kill the node at random moments, many times: `make soak`, or with `--rounds N --seed S`.

Several series are sent while the node is killed with kill -9 and started again. Like a scanner,
the sender repeats a series whose association broke. In the end the archive holds exactly one SEG
for each series.
"""

import argparse
import random
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from rich.console import Console
from rich.progress import track

from tests.benchmarks import engine_job
from tests.benchmarks.phantoms import phantom_files
from tests.system.servers import HeparNode, Orthanc, storescu, system_program
from tests.waiting import wait_until

SERIES = 3
SLICES = 60
KILLS = 4
LONGEST_S = 8.0
QUIET_S = 5.0
"""Longer than the sender's pauses: what is sent again belongs to the same series still."""


def main() -> None:
    """Run the rounds; fail at the first series that is lost or doubled."""
    options = argparse.ArgumentParser(description="Kill the node at random moments.")
    options.add_argument("--rounds", type=int, default=20)
    options.add_argument("--seed", type=int, default=0)
    asked = options.parse_args()
    if system_program("Orthanc") is None or system_program("dcmdump") is None:
        raise SystemExit("the soak needs Debian's orthanc and dcmtk")
    chance = random.Random(asked.seed)
    with tempfile.TemporaryDirectory(prefix="hepar-soak-") as folder:
        archive = Orthanc(Path(folder) / "archive")
        node = HeparNode(Path(folder) / "node", archive.peer("store"), quiet_s=QUIET_S)
        with archive, node:
            for number in track(range(asked.rounds), "rounds"):
                one_round(Path(folder), node, archive, number, chance)
        growth = engine_job.growth(Path(folder))
    Console().print(
        f"{engine_job.JOBS} jobs in a row: at most {growth.settled_mb} MB after the first "
        f"{engine_job.SETTLED}, {growth.end_mb} MB after all of them"
    )
    Console().print(
        f"{asked.rounds} rounds, {asked.rounds * SERIES} series, "
        f"{asked.rounds * KILLS} kills: each series ended as exactly one SEG"
    )


def one_round(
    folder: Path, node: HeparNode, archive: Orthanc, number: int, chance: random.Random
) -> None:
    """Send new series while the node is killed; then wait for their SEGs and count them."""
    wanted = (number + 1) * SERIES
    names = [f"round{number} series{i} " for i in range(SERIES)]
    series = [phantom_files(folder, SLICES, name, 256) for name in names]
    sender = threading.Thread(
        target=lambda: [send_until_taken(node.port, each) for each in series], daemon=True
    )
    sender.start()
    for _ in range(KILLS):
        time.sleep(chance.uniform(0, LONGEST_S))
        node.kill()
        node.start()
    sender.join(300)
    wait_until(
        lambda: len(archive.segmentations()) >= wanted,
        300,
        f"{wanted} SEGs in the archive after round {number}\n{node.tail()}",
    )
    time.sleep(3)
    found = len(archive.segmentations())
    assert found == wanted, f"{found} SEGs for {wanted} series after round {number}"


def send_until_taken(port: int, files: list[Path]) -> None:
    """Send a series again and again until the node has answered success for all of it."""
    while True:
        try:
            return storescu(port, files, called="HEPAR")
        except subprocess.CalledProcessError:
            time.sleep(0.2)


if __name__ == "__main__":
    main()
