"""From a picture of contours to a DICOM secondary capture, for viewers that know no SEG."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import highdicom as hd
import numpy as np
from PIL import Image
from pydicom import Dataset, dcmread

from dicom_node.errors import ResultMismatch
from dicom_node.results.attributes.provenance import (
    SHORT_TEXT,
    lossy_compression,
    plain,
    take_origin,
)
from dicom_node.results.attributes.segment_description import Algorithm
from dicom_node.results.attributes.source_images import refer_to_all
from dicom_node.results.attributes.uids import ResultUids
from dicom_node.results.objects import ObjectKind
from dicom_node.results.series_identity import series_identity
from engine.findings.contours import with_note


def to_montage(
    picture: Image.Image, sources: Sequence[Dataset], *, algorithm: Algorithm, uids: ResultUids
) -> hd.sc.SCImage:
    """Return the picture as an object of the source's study, with a note on who drew it.

    Args:
        picture: of `engine.findings.contours`: the patient's right on the left.
        sources: the series that it shows, in any order.
        algorithm: the model that made the labels.
        uids: of `result_uids`, those of the montage.
    """
    sources = sorted(sources, key=lambda source: str(source.SOPInstanceUID))
    montage = hd.sc.SCImage(
        pixel_array=np.asarray(with_note(picture, note(algorithm))),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "P"),
        study_instance_uid=sources[0].StudyInstanceUID,
        **series_identity(ObjectKind.MONTAGE, "montage", sources[0], algorithm, uids),
    )
    take_origin(montage, sources, algorithm)
    montage.update(lossy_compression(sources))
    refer_to_all(montage, list(sources))
    del montage.DateOfSecondaryCapture, montage.TimeOfSecondaryCapture
    montage.BodyPartExamined = "LIVER"  # there is one, so no Laterality is asked for
    montage.ImageType = ["DERIVED", "SECONDARY"]
    montage.BurnedInAnnotation = "NO"  # no patient is named in it
    montage.DerivationDescription = plain(note(algorithm), SHORT_TEXT)
    return montage


def note(algorithm: Algorithm) -> str:
    """Return what must stand under every picture."""
    return (
        f"Drawn automatically by {algorithm.name} {algorithm.version}, seen by nobody. "
        "Not for diagnosis."
    )


def verify_montage(file: Path | bytes, picture: Image.Image, algorithm: Algorithm) -> None:
    """Return if the object shows the picture and the note.

    Raises:
        ResultMismatch: it shows something else.
    """
    read = dcmread(BytesIO(file) if isinstance(file, bytes) else file)
    drawn = np.asarray(with_note(picture, note(algorithm)))
    pixels = np.frombuffer(read.PixelData, np.uint8)[: drawn.size]
    shape = (read.Rows, read.Columns, read.SamplesPerPixel)
    if shape != drawn.shape or not np.array_equal(pixels, drawn.ravel()):
        raise ResultMismatch("the montage read back is not the picture that was drawn")
