"""Measurements, plausibility and contours of a label map."""
