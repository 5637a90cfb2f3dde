"""Directions of the axes of NIfTI and DICOM."""

import numpy as np

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""NIfTI's axes run to the right, the front and the head, DICOM's to the left, back and head."""
