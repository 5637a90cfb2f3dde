"""Comparison of a device's answers with the reference of its model."""
