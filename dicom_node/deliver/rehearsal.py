"""A rehearsal: send synthetic objects to a peer, look for them, read them back, remove them."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pydicom import Dataset, dcmread

from dicom_node.deliver.c_store_scu import StorePeer
from dicom_node.deliver.confirm_by import ConfirmBy
from dicom_node.deliver.dicomweb import DicomWebPeer
from dicom_node.deliver.peer_interface import DeletingPeer, Peer
from dicom_node.deliver.sop_reference import read_reference
from dicom_node.errors import NodeError

LOOKS, LOOK_S = 5, 1.0
"""Number of searches for an object, and the pause between two."""


@dataclass(frozen=True)
class Rehearsed:
    """Result of one object."""

    name: str
    accepted: bool
    remark: str = ""
    """Why the peer refused it, or how it changed it."""
    confirmed_by: tuple[str, ...] = ()
    """Settings of `confirm` that work for it."""
    read_back: str = ""
    """Whether what the peer returns is what it was sent; empty if it returns nothing."""


def rehearse(
    peer: Peer, files: Mapping[str, Path], sleep: Callable[[float], None] = time.sleep
) -> Iterator[Rehearsed]:
    """Send each file and yield what became of it.

    Args:
        peer: any kind of peer.
        files: name of an object to its file; the objects must be of a synthetic patient.
        sleep: waits between two looks.
    """
    means = _means(peer)
    for name, file in files.items():
        try:
            changed = peer.send(file)
        except NodeError as error:
            yield Rehearsed(name, False, str(error))
            continue
        confirmed = tuple(each for each in means if _confirms(peer, each, file, sleep))
        means = confirmed or means[-1:]  # a report that does not come takes half a minute
        yield Rehearsed(name, True, changed, confirmed, _read_back(peer, file))


def clean_up(peer: Peer, files: Mapping[str, Path]) -> str:
    """Remove the objects where the peer allows it; return what a person has to do, if anything."""
    objects = [read_reference(file) for file in files.values()]
    try:
        for each in objects:
            # Leaves the loop without its `else`, and so asks for a person.
            if not isinstance(peer, DeletingPeer):
                break
            peer.delete(each)
        else:
            return ""
    except NodeError:  # then a person has to
        pass
    return f"remove the study {objects[0].study_uid} of the synthetic patient in {peer.name}"


def _means(peer: Peer) -> tuple[str, ...]:
    """Return the settings of `confirm` that the kind of peer has, the strongest first."""
    if isinstance(peer, StorePeer):
        return ConfirmBy.COMMITMENT, ConfirmBy.FIND
    return ("qidors",) if isinstance(peer, DicomWebPeer) else ("written",)


def _confirms(peer: Peer, means: str, file: Path, sleep: Callable[[float], None]) -> bool:
    """Return whether the peer confirms an object in this way, within a few looks."""
    if isinstance(peer, StorePeer):
        peer = replace(peer, means=ConfirmBy(means))
    # One: it waits for its report by itself.
    for _ in range(1 if means == ConfirmBy.COMMITMENT else LOOKS):
        try:
            peer.confirm(file)
        except NodeError as error:
            if not error.transient:
                return False
            sleep(LOOK_S)
        else:
            return True
    return False


def _read_back(peer: Peer, file: Path) -> str:
    """Compare what a DICOMweb server returns with what it was sent."""
    # From a Storage SCP it would take a C-GET, which it need not offer.
    if not isinstance(peer, DicomWebPeer):
        return ""
    try:
        returned = peer.retrieve(read_reference(file))
    except NodeError as error:
        return f"cannot be read back: {error}"
    differing = _differing(dcmread(file), returned)
    return f"differs in {', '.join(differing)}" if differing else "equal"


def _differing(sent: Dataset, returned: Dataset) -> list[str]:
    """Return the attributes in which two data sets differ, by keyword."""
    tags = sorted({*sent.keys(), *returned.keys()})
    return [
        (sent if tag in sent else returned)[tag].keyword or str(tag)
        for tag in tags
        if tag not in sent or tag not in returned or sent[tag].value != returned[tag].value
    ]
