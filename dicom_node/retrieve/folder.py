"""Which series lie in a folder, and which files belong to none."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.errors import InvalidDicomError


@dataclass(frozen=True)
class Discovery:
    """What was found in a folder."""

    series: Mapping[str, tuple[Path, ...]]
    """Series Instance UID to its instances. Files without one are put together by folder, under
    the folder's name."""
    others: Mapping[Path, str]
    """File to the reason why it belongs to no series."""


def discover(folder: Path) -> Discovery:
    """Look at every file in `folder` and the folders in it."""
    series: dict[str, list[Path]] = defaultdict(list)
    others: dict[Path, str] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            header = dcmread(
                path, stop_before_pixels=True, specific_tags=["SeriesInstanceUID", "SOPClassUID"]
            )
        except InvalidDicomError:
            others[path] = "no DICOM file"
        except (OSError, EOFError) as error:
            others[path] = f"cannot be read: {error}"
        else:
            if path.name == "DICOMDIR":
                others[path] = "a directory of files, not an image"
            else:
                series[str(header.get("SeriesInstanceUID") or path.parent)].append(path)
    return Discovery({uid: tuple(paths) for uid, paths in series.items()}, others)
