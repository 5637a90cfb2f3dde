"""Removal of what ended long ago."""
