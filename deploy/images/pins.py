"""Where base images are pinned: `name:tag@sha256:…` in Dockerfiles and Compose files."""

import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from deploy.images.registry import Image

PIN = re.compile(
    r"(?P<before>^(?:FROM|\s+image:)\s+)(?P<name>[\w./:-]+):(?P<tag>[\w.-]+)(?:@(?P<digest>\S+))?",
    re.MULTILINE,
)


def pinned_files(deploy: Path) -> list[Path]:
    """Return the files that name base images."""
    return [deploy / "compose.yaml", *sorted((deploy / "compose").glob("*.Dockerfile"))]


def pin(files: Sequence[Path], digest_of: Callable[[Image], str]) -> list[str]:
    """Write the digest of every base image, and return what became of each, in words.

    All digests are found before a file is written, so that an error changes none.
    """
    digest_once = cache(digest_of)
    changes: dict[str, None] = {}

    def replaced(found: re.Match[str]) -> str:
        image = f"{found['name']}:{found['tag']}"
        digest = digest_once(Image(found["name"], found["tag"]))
        same = digest == found["digest"]
        changes[f"{image} {'is still' if same else 'is now'} {digest}"] = None
        return f"{found['before']}{image}@{digest}"

    texts = {file: PIN.sub(replaced, file.read_text()) for file in files}
    for file, text in texts.items():
        if text != file.read_text():
            file.write_text(text)
    return list(changes)
