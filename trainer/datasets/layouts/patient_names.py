"""One patient, one name, whichever data set the patient comes from.

LiTS, the Medical Segmentation Decathlon's Task03 and 3D-IRCADb-01 share patients. The Decathlon
kept the numbers of LiTS. LiTS has 3D-IRCADb-01 as its volumes 28 to 47, in order: these are the
volumes whose spacing it lost, and they have as many slices as IRCAD states.
"""

from hashlib import sha256

FIRST_OF_IRCAD = 28
"""Number in LiTS of the first patient of 3D-IRCADb-01."""

SLICES_ALSO_IN_LITS = {10020: 117, 10046: 25, 10069: 46, 10070: 47}
"""Patients of `msd_liver_slices.npz` who are in LiTS though the file does not say so.

The file counts the Decathlon's volumes in alphabetical order (0, 1, 10, 100 ...), which its own
`lits_volume` confirms wherever it is known. 46 and 47 also show the very same slices.
"""


def lits_patient(volume: int) -> str:
    """Return the patient's name of a LiTS volume; 14 and 15 look like one patient."""
    return f"lits{14 if volume == 15 else volume}"


def ircad_patient(number: int) -> str:
    """Return the patient's name of 3Dircadb1.`number`, 1 to 20."""
    return lits_patient(FIRST_OF_IRCAD - 1 + number)


def slices_patient(patient: int, lits_volume: int) -> str:
    """Return the patient's name of a slice in `msd_liver_slices.npz`."""
    volume = SLICES_ALSO_IN_LITS.get(patient, lits_volume)
    return lits_patient(volume) if volume >= 0 else f"msd{patient}"


def hashed_patient(patient_id: str) -> str:
    """Return a name that tells patients apart and does not give away the ID."""
    return f"patient-{sha256(patient_id.encode()).hexdigest()[:12]}"
