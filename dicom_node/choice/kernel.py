"""Sharpness of a reconstruction by the name of its convolution kernel.

A sharp kernel, made for bone or lung, raises the noise of soft tissue several times over.
"""

import re
from enum import StrEnum


class Sharpness(StrEnum):
    """Kind of kernel; the best for the liver first."""

    SOFT = "soft"
    UNKNOWN = "of unknown sharpness"
    SHARP = "sharp"


NUMBERED = (
    # Siemens: B30f, Br40d, Bv36, I31f, Qr44; from 50 on they enhance edges.
    (re.compile(r"[BHIJTUQ][A-Z]?(\d{2})[A-Z]?\b"), 50),
    # Canon and Toshiba: FC01 to FC19 are the body's, FC30 bone's, FC50 the lung's.
    (re.compile(r"FC(\d{2})\b"), 30),
)
"""Families of kernels whose number grows with their sharpness, and the first sharp one."""

SOFT = {"STANDARD", "STND", "SOFT", "A", "B", "BODY", "SA", "SB"}
SHARP = {
    *("BONE", "BONEPLUS", "BONE+", "LUNG", "EDGE", "DETAIL", "CHEST", "ULTRA"),
    *("C", "D", "E", "L", "YA", "YB", "YC", "YD", "SHARP"),
}
"""Names of GE (STANDARD, LUNG, ...) and Philips (A, B, C, ...)."""


def sharpness(kernel: str) -> Sharpness:
    """Return the sharpness of the kernel of Convolution Kernel (0018,1210)."""
    name = kernel.strip().upper()
    for family, first_sharp in NUMBERED:
        if found := family.match(name):
            return Sharpness.SHARP if int(found[1]) >= first_sharp else Sharpness.SOFT
    words = {*re.split(r"[\\ /_]+", name)}
    # Sharp first: a name that has both, such as "C SOFT", is taken for the worse.
    if words & SHARP:
        return Sharpness.SHARP
    return Sharpness.SOFT if words & SOFT else Sharpness.UNKNOWN
