"""One phantom, written in the layout of every data set that is known."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import SimpleITK
from PIL import Image
from pydicom import Dataset

from dicom_node.results.attributes.model_run import ModelRun
from dicom_node.results.phantom import DRAWN_AT, to_instances
from dicom_node.results.seg import Algorithm, to_seg
from engine.phantom import Phantom, make_phantom
from engine.volume import Label


def small_phantom(seed: int = 1) -> Phantom:
    """A whole trunk on few voxels, with tumours."""
    return make_phantom(seed, shape=(8, 48, 48), spacing_mm=(25.0, 8.0, 8.0))


def image_of(phantom: Phantom, array: np.ndarray) -> SimpleITK.Image:
    """An image on the phantom's grid, stored from head to foot, right to left and front to back."""
    grid = phantom.volume.geometry
    image = SimpleITK.GetImageFromArray(array)
    image.SetSpacing(grid.spacing[::-1])
    image.SetOrigin(grid.affine[:3, 3].tolist())
    return SimpleITK.DICOMOrient(image, "RAI")


def write_lits(phantom: Phantom, folder: Path, number: int = 15) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    image, labels = folder / f"volume-{number}.nii", folder / f"segmentation-{number}.nii"
    SimpleITK.WriteImage(image_of(phantom, phantom.volume.hu), str(image))
    SimpleITK.WriteImage(image_of(phantom, phantom.truth.labels), str(labels))


def write_decathlon(phantom: Phantom, folder: Path) -> None:
    for part, array in (("imagesTr", phantom.volume.hu), ("labelsTr", phantom.truth.labels)):
        (folder / part).mkdir(parents=True)
        SimpleITK.WriteImage(image_of(phantom, array), str(folder / part / "liver_15.nii.gz"))
    pair = {"image": "./imagesTr/liver_15.nii.gz", "label": "./labelsTr/liver_15.nii.gz"}
    (folder / "dataset.json").write_text(json.dumps({"name": "Liver", "training": [pair]}))


def write_ircad(phantom: Phantom, folder: Path, number: int = 3) -> Path:
    """Head to foot, without a frame of reference; two tumour folders, each with half of them.

    The pixels are Hounsfield units as they stand.
    """
    case = folder / f"3Dircadb1.{number}"
    labels = phantom.truth.labels
    first = np.arange(labels.shape[2]) < labels.shape[2] // 4
    masks = {
        "liver": labels > 0,
        "livertumor01": (labels == Label.TUMOUR) & first,
        "livertumor02": (labels == Label.TUMOUR) & ~first,
        "bone": np.ones_like(labels),
    }
    for index, instance in enumerate(reversed(list(to_instances(phantom, "ircad")))):
        del instance.FrameOfReferenceUID, instance.RescaleSlope, instance.RescaleIntercept
        instance.PixelRepresentation, instance.BitsStored, instance.HighBit = 1, 16, 15
        instance.PixelData = phantom.volume.hu[::-1][index].astype(np.int16).tobytes()
        _save(instance, case / "PATIENT_DICOM" / f"image_{index}")
        for organ, mask in masks.items():
            instance.PixelData = (mask[::-1][index] * np.uint16(255)).tobytes()
            _save(instance, case / "MASKS_DICOM" / organ / f"image_{index}")
    return case


def write_ircad_packed(phantom: Phantom, folder: Path) -> None:
    """The case's folder with its two zips."""
    case = write_ircad(phantom, folder)
    for part in ("PATIENT_DICOM", "MASKS_DICOM"):
        shutil.make_archive(str(case / part), "zip", case, part)
        shutil.rmtree(case / part)


def write_ircad_zip(phantom: Phantom, folder: Path) -> None:
    """As published: one zip of the case's zips."""
    write_ircad_packed(phantom, folder)
    shutil.make_archive(str(folder / "3Dircadb1.3"), "zip", folder, "3Dircadb1.3")
    shutil.rmtree(folder / "3Dircadb1.3")


def write_ircad_zip_in_zip(phantom: Phantom, folder: Path) -> None:
    """All cases in one zip, each a zip of zips."""
    write_ircad_zip(phantom, folder)
    with ZipFile(folder / "3Dircadb1.zip", "w") as archive:
        archive.write(folder / "3Dircadb1.3.zip", "3Dircadb1/3Dircadb1.3.zip")
    (folder / "3Dircadb1.3.zip").unlink()


def write_chaos(phantom: Phantom, folder: Path) -> None:
    case = folder / "CT" / "7"
    (case / "Ground").mkdir(parents=True)
    for index, instance in enumerate(to_instances(phantom, "chaos")):
        _save(instance, case / "DICOM_anon" / f"i{index:04d},0000b.dcm")
        liver = Image.fromarray(phantom.truth.labels[index] > 0)
        liver.save(case / "Ground" / f"liver_GT_{index:03d}.png")


def write_beside(phantom: Phantom, folder: Path) -> None:
    labels = phantom.truth.labels
    for index, instance in enumerate(to_instances(phantom, "beside")):
        _save(instance, folder / "anna" / "dicom" / f"{index}.dcm")
    for name, mask in (("liver", labels > 0), ("tumour", labels == Label.TUMOUR)):
        image = image_of(phantom, mask.astype(np.uint8))
        SimpleITK.WriteImage(image, str(folder / "anna" / f"{name}.nii.gz"))


def write_drawn(phantom: Phantom, folder: Path, author: str = "MANUAL") -> None:
    """A CT series and a SEG of it, as an archive may give them: every file in one folder."""
    instances = list(to_instances(phantom, "drawn"))
    for index, instance in enumerate(instances):
        _save(instance, folder / f"{index}")
    _save(drawn_seg(phantom, instances, author), folder / "seg")


def drawn_seg(phantom: Phantom, instances: Sequence[Dataset], author: str) -> Dataset:
    """The truth as a SEG by someone else, or by Hepar where `author` is "HEPAR"."""
    drawing = Algorithm("Phantom", "1", author.lower())
    seg = to_seg(phantom.truth, instances, run=ModelRun(drawing, DRAWN_AT))
    if author != "HEPAR":
        seg.Manufacturer = "Somebody"
        seg.pop("ContributingEquipmentSequence", None)
        for segment in seg.SegmentSequence:
            segment.SegmentAlgorithmType = author
    return seg


def _save(instance: Dataset, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    instance.save_as(path, enforce_file_format=True)


LAYOUTS: dict[str, Callable[[Phantom, Path], object]] = {
    "LiTS": write_lits,
    "MSD Task03": write_decathlon,
    "3D-IRCADb-01 in folders": write_ircad,
    "3D-IRCADb-01 in two zips": write_ircad_packed,
    "3D-IRCADb-01 as published": write_ircad_zip,
    "3D-IRCADb-01 in one zip": write_ircad_zip_in_zip,
    "CHAOS": write_chaos,
    "DICOM with NIfTI": write_beside,
    "CT with SEG": write_drawn,
}
