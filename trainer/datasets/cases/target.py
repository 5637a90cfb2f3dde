"""Labels of training data, including unknown ones."""

from enum import IntEnum

from engine.volume import Label


class Target(IntEnum):
    """The engine's labels, and states of not knowing."""

    BACKGROUND = Label.BACKGROUND
    LIVER = Label.LIVER
    TUMOUR = Label.TUMOUR
    LIVER_OR_TUMOUR = 3
    """Inside the liver's outline, tumours not drawn."""
    NO_TUMOUR = 4
    """No tumour here, and the liver was not drawn: where tumours alone were drawn or corrected."""
    UNKNOWN = 255
    """Outside of what was looked at."""


INSIDE = (Target.LIVER, Target.TUMOUR, Target.LIVER_OR_TUMOUR)
"""Targets in the liver or in a tumour."""

NOT_EVERYWHERE = (Target.UNKNOWN, Target.NO_TUMOUR)
"""Targets of patients whose liver was not drawn everywhere: learnt from, and never judged by."""
