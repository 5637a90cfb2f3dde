"""Labelled volumes and slices in memory."""
