"""Runs that are stopped and resumed."""
