"""Device, model and rules for the next series; one device computes a whole series."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from dicom_node.pipeline.side_files import SideFile
from dicom_node.results.attributes.segment_description import Algorithm
from dicom_node.results.objects import PICTURED, SEG, ResultObject
from dicom_node.selection.rules import Rules
from engine.device import Device
from engine.errors import DeviceFailed
from engine.manifest import Domain
from engine.model import Model
from engine.serving.fleet import Fleet

Done = TypeVar("Done")


@dataclass(frozen=True)
class SegmentationSetup:
    """Device, model and rules for one series."""

    device: Device
    algorithm: Algorithm
    rules: Rules
    items: frozenset[ResultObject] = frozenset({SEG})
    """What is made of a series for any destination; the SEG always is."""
    derive_frame_of_reference: bool = False
    """Give a series without a frame of reference one made from its UID; the SEG says so."""
    beside: frozenset[SideFile] = frozenset()
    """Files that are written beside the SEG."""
    members: int = 2
    """Networks of the model; one alone has nobody to agree with."""
    domain: Domain | None = None
    """What the scans were like that the model learnt from; None where it does not state that."""

    @property
    def draws(self) -> bool:
        """Whether a picture of the contours is needed."""
        return SideFile.PREVIEW in self.beside or any(item.kind in PICTURED for item in self.items)


@dataclass(frozen=True)
class Segmenter:
    """The model and the rules, and the devices that may serve."""

    model: Model
    rules: Rules
    fleet: Fleet
    items: frozenset[ResultObject] = frozenset({SEG})
    """What is made of a series for any destination; the SEG always is."""
    beside: frozenset[SideFile] = frozenset()
    """Files that are written beside the SEG."""

    def now(self) -> SegmentationSetup:
        """Return how a series that begins now is segmented.

        Raises:
            DeviceFailed: no device can serve.
        """
        method = to_method(self.model, self.fleet.device(), self.rules, self.items)
        return replace(method, beside=self.beside)

    def run(self, work: Callable[[SegmentationSetup], Done]) -> Done:
        """Do a job; should its device fail, do all of it again on the next device in order.

        Raises:
            DeviceFailed: no other device can serve either.
        """
        while True:
            method = self.now()
            try:
                return work(method)
            except DeviceFailed as error:
                # Raises when no device is left, which ends the loop.
                self.fleet.report_failure(method.device, error)


def to_method(
    model: Model, device: Device, rules: Rules, items: frozenset[ResultObject]
) -> SegmentationSetup:
    """Return how a device segments a series."""
    algorithm = Algorithm(model.name, model.version, model.digest, device.name)
    return SegmentationSetup(
        device,
        algorithm,
        rules,
        items,
        members=len(model.members),
        domain=model.manifest.domain,
    )
