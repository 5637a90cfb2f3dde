"""Attributes that all result objects share."""
