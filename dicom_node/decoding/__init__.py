"""Checks of compressed pixel data before and while it is decoded, and the process that decodes."""
