"""One series for every ending that a series can have, and a device on which they end so."""

from pathlib import Path

from pydicom import dcmread
from pydicom.uid import generate_uid

from dicom_node.deliver.c_store_scu import StorePeer
from dicom_node.results.phantom import write_series
from engine.phantom import make_phantom
from tests.dicom_node.node_process import Thresholds

SIDE_THAT_FAILS = 40


class Failing(Thresholds):
    """A device that fails on a series of one size."""

    def run(self, hu, spacing_mm):
        if hu.shape[1] == SIDE_THAT_FAILS:
            raise ValueError("Doe^Jane")
        return super().run(hu, spacing_mm)


def write_every_ending(folder: Path) -> dict[str, list[Path]]:
    """Write a series for each ending, each in a study of its own; the last is two stacks."""
    written = {
        "segmented": phantom(folder / "segmented"),
        "refused": phantom(folder / "refused"),
        "not selected": phantom(folder / "not selected"),
        "nothing found": phantom(folder / "nothing found", air=True),
        "failed": phantom(folder / "failed", side=SIDE_THAT_FAILS),
        "in part": phantom(folder / "in part"),
    }
    del written["refused"][9]
    for path in written["not selected"]:
        change(path, path, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    written["in part"] += [
        change(path, path.with_stem(f"2-{path.stem}"), SOPInstanceUID=generate_uid())
        for index, path in enumerate(written["in part"])
        if index != 9
    ]
    for path in written["in part"]:
        change(path, path, AcquisitionNumber=2 if path.stem.startswith("2-") else 1)
    return written


def phantom(folder: Path, side: int = 64, slices: int = 20, *, air: bool = False) -> list[Path]:
    """Write a small phantom, or one of air."""
    spacing_mm = (200 / slices, 384 / side, 384 / side)
    made = make_phantom(shape=(slices, side, side), spacing_mm=spacing_mm, noise_hu=2, tumours=0)
    if air:
        made.volume.hu[:] = -1000
    return write_series(made, generate_uid(), folder)


def change(source: Path, target: Path, **values: object) -> Path:
    """Write an instance with other values."""
    instance = dcmread(source)
    for keyword, value in values.items():
        setattr(instance, keyword, value)
    instance.file_meta.MediaStorageSOPInstanceUID = instance.SOPInstanceUID
    instance.save_as(target)
    return target


def send_all(peer: StorePeer, series: dict[str, list[Path]]) -> None:
    """Send each series over an association of its own."""
    for paths in series.values():
        peer.send_many(paths)
