"""Text that comes from outside, made fit for a log, a message or a terminal.

A peer or a file chooses it: a UID of 100 kB with a name in it, newlines that forge lines of the
log, escape sequences that a terminal obeys.
"""

import re

LONGEST = 200
"""Characters of one value; a UID has 64, an AE title 16."""

_PERSON = re.compile(r"[^\s'\"=(,;:]*\^[^\s'\",;:)]*(?:\s+[^\s'\",;:)=]*\^[^\s'\",;:)]*)*")
"""Person names have carets between their components (PS3.5 6.2.1), and hardly anything else has."""
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
"""Control characters, line separators, and those that turn the direction of writing."""


def outside_text(text: object, longest: int = LONGEST) -> str:
    """Return text in one line of at most `longest` characters, without person names.

    Control characters are written as escapes; what is left out is counted.
    """
    # Cut first: the expressions below must not be led through megabytes.
    whole = str(text)
    kept = _PERSON.sub("[name]", whole[: 4 * longest])
    kept = _UNPRINTABLE.sub(lambda found: ascii(found.group())[1:-1], kept)
    if len(kept) <= longest and len(whole) <= 4 * longest:
        return kept
    note = f"… ({len(whole)} characters)"
    return kept[: longest - len(note)] + note
