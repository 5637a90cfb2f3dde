"""Numbers of patients, as messages and pages write them."""


def patients(count: int, which: str = "") -> str:
    """Return a number of patients, such as "1 patient" or "2 other patients"."""
    return f"{count} {which}patient{'' if count == 1 else 's'}"
