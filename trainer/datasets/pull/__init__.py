"""Fetch training data from an archive."""
