"""Tolerances of geometry, in one place: how far what should be equal may differ."""

TOLERANCE_MM = 0.1
"""Distance between a slice and its place in the stack, or between a pixel of a result and that of
its source: scanners round positions to this."""

COSINES_OF_A_STACK = 2e-4
"""Difference between direction cosines of slices in one stack: 0.1 mm over 500 mm, which is how far
a SEG, whose frames share one orientation, may lie off its sources."""

UNIT_COSINES = 1e-3
"""Distance of direction cosines from unit length and from a right angle."""

SPACING_MM = 1e-4
"""Difference between pixel spacings of one stack: 0.05 mm over 512 pixels."""
