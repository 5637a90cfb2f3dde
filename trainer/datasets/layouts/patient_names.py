"""One patient, one name, whichever data set the patient comes from.

LiTS, the Medical Segmentation Decathlon's Task03 and 3D-IRCADb-01 share patients. The Decathlon
kept the numbers of LiTS. LiTS has 3D-IRCADb-01 as its volumes 28 to 47, in order: these are the
volumes whose spacing it lost, and they have as many slices as IRCAD states.
"""

import re

FIRST_OF_IRCAD = 28
"""Number in LiTS of the first patient of 3D-IRCADb-01."""

SAME_PATIENT = {1: 0, 7: 6, 8: 6, 9: 6, 10: 6, 15: 14}
"""Volume of LiTS to an earlier one of the same patient, as their images show."""

# fmt: off
LITS_VOLUMES = {
    10004: 101, 10005: 102, 10006: 104, 10007: 105, 10008: 106, 10010: 108, 10011: 109, 10012: 11,
    10013: 110, 10015: 112, 10016: 113, 10017: 114, 10019: 116, 10020: 117, 10021: 118, 10022: 119,
    10023: 12, 10024: 120, 10025: 121, 10026: 122, 10027: 123, 10028: 125, 10030: 127, 10031: 128,
    10032: 129, 10033: 13, 10034: 14, 10035: 15, 10036: 16, 10037: 17, 10038: 18, 10039: 19,
    10040: 2, 10041: 20, 10042: 21, 10043: 22, 10045: 24, 10046: 25, 10047: 26, 10048: 27,
    10050: 29, 10051: 3, 10052: 30, 10053: 31, 10054: 32, 10055: 33, 10057: 35, 10059: 37,
    10061: 39, 10062: 4, 10064: 41, 10065: 42, 10066: 43, 10068: 45, 10069: 46, 10070: 47,
    10071: 48, 10072: 49, 10073: 5, 10074: 50, 10075: 51, 10076: 52, 10077: 53, 10078: 54,
    10079: 55, 10080: 56, 10082: 58, 10086: 61, 10088: 63, 10089: 64, 10090: 65, 10091: 66,
    10092: 67, 10093: 68, 10094: 69, 10096: 70, 10098: 72, 10101: 75, 10102: 76, 10103: 77,
    10104: 78, 10105: 79, 10107: 80, 10108: 81, 10109: 82, 10110: 83, 10112: 87, 10113: 88,
    10114: 89, 10116: 90, 10117: 91, 10118: 92, 10120: 94, 10121: 95, 10123: 99,
}
# fmt: on
"""Patient of `msd_liver_slices.npz` to volume of LiTS, as `msd_to_lits.json` beside it states.

The file counts the Decathlon's volumes in alphabetical order (0, 1, 10, 100 ...), which its own
`lits_volume` confirms wherever it is known. The last one that nobody else states, 10070, follows
from that order, and shows the very same slices as LiTS 47.
"""


def lits_patient(volume: int) -> str:
    """Return the patient's name of a LiTS volume: of the patient's first, if there are several."""
    return f"lits{SAME_PATIENT.get(volume, volume)}"


def ircad_patient(number: int) -> str:
    """Return the patient's name of 3Dircadb1.`number`, 1 to 20."""
    return lits_patient(FIRST_OF_IRCAD - 1 + number)


def volume_of_slices(patient: int, lits_volume: int) -> int:
    """Return the LiTS volume of a patient of `msd_liver_slices.npz`; -1 where it is unknown."""
    return LITS_VOLUMES.get(patient, lits_volume)


def slices_patient(patient: int, lits_volume: int = -1) -> str:
    """Return the patient's name of a slice in `msd_liver_slices.npz`."""
    volume = volume_of_slices(patient, lits_volume)
    return lits_patient(volume) if volume >= 0 else f"msd{patient}"


def todays_name(patient: str) -> str:
    """Return the name that a patient has now, of one that a model folder may be older than.

    Before 1.2.1 a patient was called `msd10016` where `msd_liver_slices.npz` itself does not state
    the volume in LiTS.
    """
    found = re.fullmatch(r"msd(\d+)", patient)
    return slices_patient(int(found[1])) if found else patient
