"""Numbers with their nouns, for messages: "1 slice", "2 slices"."""


def counted(number: int, noun: str) -> str:
    """Return a number and its noun, which takes an s for any number but one."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
