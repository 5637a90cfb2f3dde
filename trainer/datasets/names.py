"""One patient, one name, whichever data set the patient comes from."""


def lits_patient(volume: int) -> str:
    """Return the patient's name of a LiTS volume; 14 and 15 look like one patient."""
    return f"lits{14 if volume == 15 else volume}"
