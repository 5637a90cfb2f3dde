"""Admission of callers: what happens between a connection and its association."""
