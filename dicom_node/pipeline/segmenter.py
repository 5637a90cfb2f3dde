"""Device, model and rules for the next series; one device computes a whole series."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from pydicom import Dataset

from dicom_node.attributes import text_of
from dicom_node.corrections.correction import scanner_of
from dicom_node.corrections.kept_labels import KeptLabels
from dicom_node.pipeline.side_files import SideFile
from dicom_node.results.attributes.segment_description import Algorithm
from dicom_node.results.objects import PICTURED, SEG, ResultObject
from dicom_node.selection.rules import Rules
from engine.device import Device
from engine.errors import DeviceFailed
from engine.manifest import Calibration, Domain, hashed_patient
from engine.model import Model
from engine.serving.fleet import Fleet
from engine.volume import LabelMap

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
    calibration: Calibration | None = None
    """How certain its results are; None where it does not state that."""
    learnt_patients: frozenset[str] = frozenset()
    """Patients the model learnt from, as `hashed_patient` names those of an archive."""

    @property
    def draws(self) -> bool:
        """Whether a picture of the contours is needed."""
        return SideFile.PREVIEW in self.beside or any(item.kind in PICTURED for item in self.items)

    def kept(self, label_map: LabelMap, source: Dataset) -> KeptLabels:
        """Return what is kept of a result for corrections.

        Args:
            label_map: the result.
            source: an instance of the series.
        """
        patient = hashed_patient(text_of(source, "PatientID"), text_of(source, "StudyInstanceUID"))
        made_by, learnt = self.algorithm, patient in self.learnt_patients
        return KeptLabels(label_map, scanner_of(source), made_by.model, made_by.digest, learnt)


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
    remark: str = ""
    """`Algorithm.remark` of the results."""

    def now(self) -> SegmentationSetup:
        """Return how a series that begins now is segmented.

        Raises:
            DeviceFailed: no device can serve.
        """
        method = to_method(self.model, self.fleet.device(), self.rules, self.items)
        algorithm = replace(method.algorithm, remark=self.remark)
        return replace(method, algorithm=algorithm, beside=self.beside)

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
        calibration=model.manifest.calibration,
        learnt_patients=model.manifest.learnt_patients,
    )
