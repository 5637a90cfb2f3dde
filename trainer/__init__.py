"""Learns the members of an ensemble and writes a model folder."""
