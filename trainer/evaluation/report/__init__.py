"""Evaluation results as a page, tables and JSON."""
