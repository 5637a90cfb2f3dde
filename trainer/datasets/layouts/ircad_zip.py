"""The files of one case of 3D-IRCADb-01, unpacked for as long as they are read."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from zipfile import BadZipFile, ZipFile

from trainer.datasets.layouts.found import is_visible

IMAGES, MASKS = "PATIENT_DICOM", "MASKS_DICOM"

_CASE = re.compile(r"3Dircadb1\.(\d+)", re.IGNORECASE)


def cases_in(path: Path) -> list[str]:
    """Return the names of the cases in a zip of one case or of many; what is no zip has one."""
    try:
        with ZipFile(path) as archive:
            inside = archive.namelist()
    except (BadZipFile, OSError):
        # One case that then fails with the reason, in place of a file that is silently skipped.
        return [path.stem]
    numbers = {int(each) for each in _CASE.findall("\n".join([path.stem, *inside]))}
    return [f"3Dircadb1.{number}" for number in sorted(numbers)]


@contextmanager
def files_of(place: Path, name: str) -> Iterator[list[Path]]:
    """Give the images and masks of a case in a zip, or in a folder, packed there or not."""
    packed = [place] if place.is_file() else sorted(place.glob("*.[zZ][iI][pP]"))
    # Unpacked beside it: the folder is read, and the zip would only repeat it.
    packed = [path for path in packed if not path.with_suffix("").is_dir() or path == place]
    with TemporaryDirectory(prefix="hepar-") as temporary:
        for path in packed:
            with ZipFile(path) as archive:
                _unpack(archive, _inside(Path(temporary), path), name)
        roots = [Path(temporary), *([place] if place.is_dir() else [])]
        yield sorted(path for root in roots for path in root.rglob("*") if is_visible(path))


def is_inside(name: str, path: Path) -> bool:
    """Return whether a file lies in a folder of that name, in capitals or not."""
    return name in (part.upper() for part in path.parts[:-1])


def _unpack(archive: ZipFile, folder: Path, name: str) -> None:
    """Extract what is wanted of a case from a zip, and from the zips in it."""
    for member in archive.namelist():
        path = PurePath(member)
        whose = _CASE.search(member)
        if whose and whose[0].lower() != name.lower():
            continue
        if path.suffix.lower() == ".zip" and path.stem.upper() in (IMAGES, MASKS, name.upper()):
            with ZipFile(BytesIO(archive.read(member))) as inner:
                _unpack(inner, _inside(folder, path), name)
        elif _wanted(folder / path) and not member.endswith("/"):
            # zipfile drops "..", drives and leading slashes, so nothing lands outside.
            archive.extract(member, folder)


def _inside(folder: Path, packed: PurePath) -> Path:
    return folder / packed.stem if packed.stem.upper() in (IMAGES, MASKS) else folder


def _wanted(path: Path) -> bool:
    """Images, and masks of the liver and its tumours."""
    if is_inside(IMAGES, path):
        return True
    return is_inside(MASKS, path) and path.parent.name.lower().startswith("liver")
