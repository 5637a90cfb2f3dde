"""Simulation of clusters by SimPy: `python -m tests.benchmarks.simulation`."""
