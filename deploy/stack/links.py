"""The links to results, as they come up in the node's log."""

import re
from pathlib import Path

SEEN = re.compile(r" INFO see (\S+) action=view ")


class Links:
    """Reads a log that grows."""

    def __init__(self, log: Path) -> None:
        self._log = log
        # The log is kept from one start to the next: old links were printed then.
        self._read = log.stat().st_size if log.exists() else 0

    def fresh(self) -> list[str]:
        """Return the links that came up since the last time, in whole lines."""
        with self._log.open("rb") as log:
            log.seek(self._read)
            news = log.read()
        # As bytes: the node may be in the middle of a line, or of a letter.
        whole = news[: news.rfind(b"\n") + 1]
        self._read += len(whole)
        return SEEN.findall(whole.decode(errors="replace"))
