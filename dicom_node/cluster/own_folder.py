"""The data folder of a process that shares it with no other of its cluster."""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from dicom_node.cluster import membership as heartbeats
from dicom_node.cluster.membership import Member, Membership
from dicom_node.cluster.shared_folder import LOOK_S, Claim
from dicom_node.data_folder import DataFolder
from dicom_node.errors import BadConfiguration

LETTERS = 8
"""Of the folder's name, in that of the process."""


@contextmanager
def own_place(data: DataFolder, role: str, cluster: str) -> Iterator[Claim]:
    """Keep others out of the folder while the block lasts.

    The name of the process is `<role>-<letters>`, with the first letters of the folder's: it lasts
    as long as the folder, whatever the machine is called, for what lies there is found by it.

    Raises:
        AlreadyRunning: another process works in the folder.
        BadConfiguration: the folder cannot be made or written.
    """
    with data.claimed() as folder:
        claim = Claim(data, cluster, f"{role}-{folder[:LETTERS]}", uuid.uuid4().hex)
        for own in (claim.crashes, claim.cache):
            own.mkdir(exist_ok=True)
        yield claim


def require_own_name(membership: Membership, me: Member) -> None:
    """Return once no process of this name lives on another machine.

    Raises:
        BadConfiguration: one does: its data folder and this one are copies of each other.
    """
    # One that moved here with its disk has left a last heartbeat behind.
    deadline = time.monotonic() + heartbeats.DEAD_S + LOOK_S
    while other := _namesake(membership, me):
        if time.monotonic() > deadline:
            raise BadConfiguration(
                f"{me.name} lives on {other.host} already; give this process a data folder of its"
                " own (node.data), not a copy of that one"
            )
        time.sleep(LOOK_S)


def _namesake(membership: Membership, me: Member) -> Member | None:
    found = [each.member for each in membership.all() if each.alive]
    return next((each for each in found if each.name == me.name and each.host != me.host), None)
