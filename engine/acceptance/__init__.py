"""Comparison of a device with the reference of its model."""
