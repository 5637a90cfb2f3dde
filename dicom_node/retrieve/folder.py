"""Series in a folder of DICOM files."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.errors import InvalidDicomError


@dataclass(frozen=True)
class Discovery:
    """Files of a folder, by series."""

    series: Mapping[str, tuple[Path, ...]]
    """Series Instance UID to its instances; files without one are grouped by folder, under its
    name."""
    others: Mapping[Path, str]
    """Files that belong to no series, with the reason."""


def discover(folder: Path) -> Discovery:
    """Read the header of every file in `folder` and below."""
    series: dict[str, list[Path]] = defaultdict(list)
    others: dict[Path, str] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            header = dcmread(
                path, stop_before_pixels=True, specific_tags=["SeriesInstanceUID", "SOPClassUID"]
            )
        except InvalidDicomError:
            others[path] = "not a DICOM file"
        except (OSError, EOFError) as error:
            others[path] = f"cannot be read: {error}"
        else:
            if path.name.upper() == "DICOMDIR":
                others[path] = "a directory of files, not an image"
            else:
                series[str(header.get("SeriesInstanceUID") or path.parent)].append(path)
    return Discovery({uid: tuple(paths) for uid, paths in series.items()}, others)
