"""Contrast phase of a CT series, by its name or by the time since the injection."""

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum

UNENHANCED_S, ARTERIAL_S, PORTAL_S = 10.0, 50.0, 110.0
"""Ends of the phases in seconds after the beginning of the injection. The late arterial phase is
scanned at 30 to 45 s and the portal venous one at 60 to 80 s (Goshima et al., AJR 2006;187:W25;
LI-RADS v2018), the delayed one from two minutes on; the bounds lie between them, near those of
TotalSegmentator's `pi_time_to_phase`."""
LATEST_S = 1800.0
"""After half an hour a time of injection is that of another injection, or wrong."""
DAY_S = 86400.0


class Phase(StrEnum):
    """Contrast phase; the best for the liver first.

    An unknown phase comes second: where only one series of a study names its phase, it names the
    unusual one.
    """

    PORTAL = "portal venous"
    UNKNOWN = "unknown"
    DELAYED = "delayed"
    ARTERIAL = "arterial"
    NATIVE = "without contrast"


@dataclass(frozen=True)
class FoundPhase:
    """A phase, and what it was found by."""

    phase: Phase = Phase.UNKNOWN
    by: str = ""
    """For a person, such as "by its name"; empty where the phase is unknown."""

    def __str__(self) -> str:
        return f"{self.phase} ({self.by})" if self.by else str(self.phase)


UNKNOWN = FoundPhase()


NAMES = {
    # Before DELAYED, and taken out of the text: the late arterial phase is arterial.
    Phase.ARTERIAL: r"((early|late|fruh|spat|hepatic) )?(art|\w*arteri\w*|hap|cta|angio\w*)",
    Phase.NATIVE: (
        r"non? (contrast|contraste|cm|km|iv)|without|w o|wo|pre|precontrast|noncontrast|unenhanced"
        r"|nativ\w*|plain|ohne|sans|sin|senza|nc|ncct|blanco|basale?"
    ),
    Phase.PORTAL: r"portal?\w*|portov\w*|pvp?|ven|veno\w*|veineu\w*|veneu\w*",
    Phase.DELAYED: r"late|delayed|spat\w*|spaet\w*|tardi\w*|equilib\w*|excret\w*|urogra\w*",
}
"""Whole words of series descriptions and protocol names in English, German, French, Italian,
Spanish and Dutch, without accents."""

PATTERNS = {phase: re.compile(rf"\b(?:{words})\b") for phase, words in NAMES.items()}
SECONDS = re.compile(r"(?<![\d.,])(\d{2,3}) ?s(?:ec|ek|eg)?\b")
MINUTES = re.compile(r"(?<![\d.,])(\d{1,2}) ?min")


def named_phase(*names: str) -> FoundPhase:
    """Return the phase that descriptions name; unknown where they name none, or several."""
    text = " ".join(_plain(name) for name in names)
    # Before the words: "venous 30 s" is scanned at 30 s, whatever it is called.
    if seconds := _named_seconds(text):
        return _found(phase_at(seconds), f"{seconds:g} s by its name")
    letters = " ".join(re.findall(r"[a-z]+", text))
    found = set()
    for phase, pattern in PATTERNS.items():
        # Taken out, so that no later pattern finds a part of it; the order of `NAMES` matters.
        letters, count = pattern.subn(" ", letters)
        if count:
            found.add(phase)
    return FoundPhase(found.pop(), "by its name") if len(found) == 1 else UNKNOWN


def phase_at(seconds: float) -> Phase:
    """Return the phase so many seconds after the beginning of the injection."""
    if seconds > LATEST_S:
        return Phase.UNKNOWN
    bounds = {Phase.NATIVE: UNENHANCED_S, Phase.ARTERIAL: ARTERIAL_S, Phase.PORTAL: PORTAL_S}
    return next((phase for phase, end in bounds.items() if seconds < end), Phase.DELAYED)


def timed_phase(injected_s: float, acquired_s: float) -> FoundPhase:
    """Return the phase of a series by two times of day; unknown where one of them is NaN."""
    # Times of day: an examination may go past midnight.
    after_s = (acquired_s - injected_s) % DAY_S
    if after_s != after_s:  # NaN
        return UNKNOWN
    # Nobody is scanned half a day after an injection; what looks so came before it.
    if after_s > DAY_S / 2:  # scanned before the injection
        return FoundPhase(Phase.NATIVE, f"{DAY_S - after_s:.0f} s before the injection")
    return _found(phase_at(after_s), f"{after_s:.0f} s after the injection")


def _found(phase: Phase, by: str) -> FoundPhase:
    return UNKNOWN if phase is Phase.UNKNOWN else FoundPhase(phase, by)


def _plain(name: str) -> str:
    """Return a name in small letters without accents."""
    # Letters and accents apart: descriptions come with and without them. An underscore would count
    # as a letter.
    parts = unicodedata.normalize("NFKD", name.lower())
    return "".join(each for each in parts if not unicodedata.combining(each)).replace("_", " ")


def _named_seconds(text: str) -> float:
    if minutes := MINUTES.search(text):
        return 60.0 * int(minutes[1])
    seconds = SECONDS.search(text)
    return float(seconds[1]) if seconds else 0.0
