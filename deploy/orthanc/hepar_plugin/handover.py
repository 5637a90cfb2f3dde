"""Series on their way to the node: each once, and again until the node has it."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from hepar_plugin.archive import Archive, ArchiveError
from hepar_plugin.settings import Settings


@dataclass(frozen=True)
class Waiting:
    """A series that the node has not got yet."""

    asked: bool
    """By a person: rules about what is worth handing over do not hold."""
    due: float = 0.0
    """When to try, by the clock."""
    attempts: int = 0
    reason: str = ""
    """Why the last attempt failed."""


class Handover:
    """Hands series to the node, one at a time, in a thread of its own.

    What the node got of a series is noted on the series itself, and what waits in Orthanc's
    index, so both outlive Orthanc and go with the series.
    """

    def __init__(
        self, archive: Archive, settings: Settings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._archive = archive
        self._settings = settings
        self._clock = clock
        self._waiting: dict[str, Waiting] = {}
        # Guards `_waiting` and `_ended`: Orthanc calls from threads of its own.
        self._changed = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="hepar", daemon=True)

    def start(self) -> None:
        """Take up what waited when Orthanc stopped, and work from now on."""
        with self._changed:
            for series, asked in self._archive.waiting().items():
                self._waiting.setdefault(series, Waiting(asked))
        self._thread.start()

    def stop(self) -> None:
        """End; what waits is taken up the next time."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        if self._thread.is_alive():
            # No longer: a C-STORE may be under way, and Orthanc waits for this to end.
            self._thread.join(5)

    def offer(self, series: str) -> None:
        """Hand a series over if the rules say so and the node has not got all of it."""
        self._add(series, asked=False)

    def ask(self, series: str) -> None:
        """Hand a series over because a person asked for it, whatever was done before."""
        self._add(series, asked=True)

    def waiting(self) -> dict[str, Waiting]:
        """Return what the node has not got yet, by Orthanc's name of the series."""
        with self._changed:
            return dict(self._waiting)

    def step(self) -> float | None:
        """Try what is due; return the seconds until the next try, None if nothing waits."""
        now = self._clock()
        for series, each in self.waiting().items():
            if each.due <= now:
                self._try_anyhow(series, each)
        dues = [each.due for each in self.waiting().values()]
        return max(0.0, min(dues) - self._clock()) if dues else None

    def _add(self, series: str, *, asked: bool) -> None:
        with self._changed:
            # A new `Waiting` each time: due at once, and for `_settle` not the one that was tried.
            before = self._waiting.get(series, Waiting(False))
            self._waiting[series] = Waiting(asked or before.asked)
            self._note()
            self._changed.notify()

    def _try_anyhow(self, series: str, each: Waiting) -> None:
        try:
            self._try(series, each)
        except Exception as error:  # the edge of this thread: the other series go on
            self._postpone(series, each, f"unforeseen {type(error).__name__}")

    def _try(self, series: str, each: Waiting) -> None:
        try:
            # Before sending: an instance that comes meanwhile makes another, and the series goes
            # once more.
            fingerprint = self._archive.fingerprint(series)
            wanted = self._wanted(series, each, fingerprint)
        except ArchiveError:  # the series has been deleted
            return self._settle(series, each)
        if not wanted:
            return self._settle(series, each)
        try:
            self._archive.send(series, self._settings.modality, asked=each.asked)
            # Only now: a crash before it sends the series twice, which the node takes for known
            # work.
            self._archive.note_handed_over(series, fingerprint)
        except ArchiveError as error:
            return self._postpone(series, each, str(error))
        return self._settle(series, each)

    def _wanted(self, series: str, each: Waiting, fingerprint: str) -> bool:
        tags, rules = self._archive.tags(series), self._settings.rules
        if each.asked:
            # Whatever was sent before: that is what the button is for.
            return rules.why_never(tags) is None
        if rules.why_not(tags, len(self._archive.instances(series))):
            return False
        if self._archive.is_copy(series):  # its original was segmented; a person may press
            return False
        return self._archive.handed_over(series) != fingerprint

    def _settle(self, series: str, tried: Waiting) -> None:
        with self._changed:
            if self._waiting.get(series) is tried:  # nobody has offered it again meanwhile
                del self._waiting[series]
                self._note()

    def _postpone(self, series: str, tried: Waiting, reason: str) -> None:
        settings = self._settings
        # Bounded: after a week without the node, the power would be too large for a float.
        pause = min(settings.first_pause_s * 2 ** min(tried.attempts, 30), settings.longest_pause_s)
        self._archive.warn(f"series {series} waits {pause:g} s for the node: {reason}")
        due = self._clock() + pause
        with self._changed:
            if self._waiting.get(series) is tried:
                self._waiting[series] = replace(
                    tried, due=due, attempts=tried.attempts + 1, reason=reason
                )

    def _note(self) -> None:
        """Note what waits; without the note only a restart of Orthanc forgets it."""
        try:
            self._archive.note_waiting(
                {series: each.asked for series, each in self._waiting.items()}
            )
        except ArchiveError as error:
            self._archive.warn(str(error))

    def _run(self) -> None:
        while not self._ended:
            pause = self.step()
            with self._changed:
                # What was offered after `step` had looked: its notice came before the wait, and is
                # lost.
                fresh = any(each.due <= self._clock() for each in self._waiting.values())
                if not self._ended and not fresh:
                    # None where nothing waits: until there is something.
                    self._changed.wait(pause)
