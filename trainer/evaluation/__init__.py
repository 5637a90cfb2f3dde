"""Evaluation of models against expert outlines."""
