"""One patient, one name, whichever data set the patient comes from.

LiTS, the Medical Segmentation Decathlon's Task03 and 3D-IRCADb-01 share patients. The Decathlon
kept the numbers of LiTS. LiTS has 3D-IRCADb-01 as its volumes 28 to 47, in order: these are the
volumes whose spacing it lost, and they have as many slices as IRCAD states.
"""

from hashlib import sha256

FIRST_OF_IRCAD = 28
"""Number in LiTS of the first patient of 3D-IRCADb-01."""

SAME_PATIENT = {1: 0, 7: 6, 8: 6, 9: 6, 10: 6, 15: 14}
"""Volume of LiTS to an earlier one of the same patient, as their images show."""

SLICES_ALSO_IN_LITS = {10020: 117, 10046: 25, 10069: 46, 10070: 47}
"""Patients of `msd_liver_slices.npz` who are in LiTS although the file omits it.

The file counts the Decathlon's volumes in alphabetical order (0, 1, 10, 100 ...), which its own
`lits_volume` confirms wherever it is known. 46 and 47 also show the very same slices.
"""


def lits_patient(volume: int) -> str:
    """Return the patient's name of a LiTS volume: of the patient's first, if there are several."""
    return f"lits{SAME_PATIENT.get(volume, volume)}"


def ircad_patient(number: int) -> str:
    """Return the patient's name of 3Dircadb1.`number`, 1 to 20."""
    return lits_patient(FIRST_OF_IRCAD - 1 + number)


def volume_of_slices(patient: int, lits_volume: int) -> int:
    """Return the LiTS volume of a patient of `msd_liver_slices.npz`; -1 where it is unknown."""
    return SLICES_ALSO_IN_LITS.get(patient, lits_volume)


def slices_patient(patient: int, lits_volume: int) -> str:
    """Return the patient's name of a slice in `msd_liver_slices.npz`."""
    volume = volume_of_slices(patient, lits_volume)
    return lits_patient(volume) if volume >= 0 else f"msd{patient}"


def hashed_patient(patient_id: str) -> str:
    """Return a name that distinguishes patients without revealing the ID."""
    return f"patient-{sha256(patient_id.encode()).hexdigest()[:12]}"
