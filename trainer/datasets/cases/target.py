"""Labels of training data, including unknown ones."""

from enum import IntEnum

from engine.volume import Label


class Target(IntEnum):
    """The engine's labels, and two states of not knowing."""

    BACKGROUND = Label.BACKGROUND
    LIVER = Label.LIVER
    TUMOUR = Label.TUMOUR
    LIVER_OR_TUMOUR = 3
    """Inside the liver's outline, tumours not drawn."""
    UNKNOWN = 255
    """Outside of what was looked at."""
