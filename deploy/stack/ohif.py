"""OHIF as its makers built it: fetched once by npm, checked, kept in a folder that git ignores."""

import base64
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

from deploy.stack.errors import Missing

VERSION = "3.13.2"
# In the source, not only from the registry: what was reviewed is what runs.
INTEGRITY = (
    "sha512-WZdxmpmG7rqFgW9ZJLcbgr3XCtLi1KDNPoMaeY5PPe6j4G4fjEjj"
    "kycZM6C6Zk2F87BKxFfpq+jd5xXZB9E8EA=="
)
"""As the registry states it for this version."""

LEFT_OUT = ("dist/ort", "dist/dicom-microscopy-viewer")
"""Files that CT does not need; they are most of the viewer's bytes. Source maps go too."""

CACHE = Path(__file__).resolve().parents[2] / ".cache"


def find_ohif(cache: Path = CACHE) -> Path:
    """Return the folder with OHIF's `index.html`, fetching it if it is not there yet.

    Raises:
        Missing: npm is missing, could not fetch it, or fetched something else.
    """
    folder = cache / f"ohif-{VERSION}"
    if not (folder / "index.html").exists():
        cache.mkdir(parents=True, exist_ok=True)
        # In the cache, so that the rename below stays within one file system, and is all or
        # nothing.
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            unpacked = unpack(_fetch(Path(scratch)), Path(scratch) / "unpacked")
            shutil.rmtree(folder, ignore_errors=True)
            unpacked.rename(folder)
    return folder


def unpack(package: Path, folder: Path, integrity: str = INTEGRITY) -> Path:
    """Unpack what CT needs of the viewer and return the folder with `index.html`.

    Raises:
        Missing: the package is not the one that was asked for.
    """
    digest = base64.b64encode(hashlib.sha512(package.read_bytes()).digest()).decode()
    if f"sha512-{digest}" != integrity:
        raise Missing(f"{package.name} is sha512-{digest}, not {integrity}; fetch it again")
    with tarfile.open(package) as archive:
        members = [each for each in archive if _is_needed(PurePosixPath(each.name))]
        # Set where it exists: Python before 3.11.4, Debian 12's own too, has no such filter. The
        # digest has shown already that the package is the one that was asked for.
        if hasattr(tarfile, "data_filter"):
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(folder, members)
    return folder / "package" / "dist"


def _is_needed(path: PurePosixPath) -> bool:
    inside = path.relative_to("package")
    wanted = inside.is_relative_to("dist") and inside.suffix != ".map"
    return wanted and not any(inside.is_relative_to(each) for each in LEFT_OUT)


def _fetch(folder: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise Missing("npm is missing and OHIF comes by it: sudo apt-get install npm")
    done = subprocess.run(
        [npm, "pack", "--silent", f"@ohif/app@{VERSION}"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    packages = list(folder.glob("*.tgz"))
    if done.returncode or not packages:
        raise Missing(f"npm could not fetch @ohif/app@{VERSION}: {done.stderr.strip()}")
    return packages[0]
