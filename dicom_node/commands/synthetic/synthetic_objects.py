"""Results of a synthetic patient, and notices on them: for trying out a peer without a patient."""

from collections.abc import Collection
from pathlib import Path
from uuid import uuid4

from pydicom import dcmread

from dicom_node.results.attributes.number_register import NumbersOfRun
from dicom_node.results.attributes.segment_description import Algorithm
from dicom_node.results.make import SeriesResult, encode_verified, make_others, make_seg
from dicom_node.results.notices.receipt import to_receipt
from dicom_node.results.notices.rejection import to_rejections
from dicom_node.results.objects import SEG, Encoding, ObjectKind, ResultObject, SegForm
from dicom_node.results.phantom import to_instances
from dicom_node.series.volume import to_volume
from engine.findings.contours import draw_contours
from engine.findings.measure import measure
from engine.findings.quality import Quality
from engine.phantom import make_phantom

SHAPE, SPACING_MM, TUMOURS = (12, 64, 64), (20.0, 6.0, 6.0), 2

EVERY = (
    *(ResultObject(kind) for kind in ObjectKind),
    ResultObject(ObjectKind.SEG, SegForm(Encoding.LABELMAP)),
)
"""Every kind of object, and the SEG in every encoding."""

NOTICES = ("receipt", "rejection")
"""Names of what `write_notices` writes."""


def write_objects(
    folder: Path, items: Collection[ResultObject] = EVERY
) -> dict[ResultObject, Path]:
    """Write these objects of a new study, and return the file of each.

    The labels are the phantom's own, so no model is needed; each call makes UIDs of its own.
    """
    phantom = make_phantom(shape=SHAPE, spacing_mm=SPACING_MM, tumours=TUMOURS)
    # Another study each time: a peer that keeps the last rehearsal would answer "duplicate".
    sources = list(to_instances(phantom, f"rehearsal {uuid4()}"))
    volume = to_volume(sources)
    findings = SeriesResult(
        sources,
        Algorithm("phantom", "1", "0" * 64),
        phantom.truth,
        measure(volume, phantom.truth),
        Quality(),
        draw_contours(volume, phantom.truth),
    )
    seg = make_seg(findings)
    made = {
        SEG: encode_verified(seg, findings),
        **dict(make_others({*items} - {SEG}, findings, seg)),
    }
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for item, content in made.items():
        files[item] = folder / f"{item.name}.dcm"
        files[item].write_bytes(content)
    return {item: files[item] for item in items}


def write_notices(folder: Path, seg: Path) -> dict[str, Path]:
    """Write a receipt, and a note that rejects a SEG; return the file of each by its name."""
    header, numbers = dcmread(seg, stop_before_pixels=True), NumbersOfRun()
    (rejection,) = to_rejections([header], numbers)
    receipt = to_receipt(header, "refused", "a rehearsal, not a patient", "", numbers)
    files = {name: folder / f"{name}.dcm" for name in NOTICES}
    for file, notice in zip(files.values(), (receipt, rejection), strict=True):
        file.write_bytes(notice)
    return files
