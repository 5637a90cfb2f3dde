"""`python -m deploy.images`: pin each base image to what its tag is in its registry today."""

import sys
from pathlib import Path

import httpx

from deploy.images.pins import pin, pinned_files
from deploy.images.registry import RegistryError, newest_digest

DEPLOY = Path(__file__).resolve().parents[1]
WAIT_S = 30.0


def main() -> int:
    """Write the digests; the exit status is 1, and no file changed, if one cannot be found."""
    files = pinned_files(DEPLOY)
    try:
        with httpx.Client(timeout=WAIT_S, follow_redirects=True) as client:
            changes = pin(files, lambda image: newest_digest(client, image))
    except RegistryError as error:
        print(f"{error}\nNo file was changed.", file=sys.stderr)
        return 1
    for change in changes:
        print(change)
    return 0


if __name__ == "__main__":
    sys.exit(main())
