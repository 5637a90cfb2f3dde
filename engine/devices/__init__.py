"""Devices that run a model, one module for each library."""
