"""Readers, one for each layout of a data set."""
