"""Inspection of a dataset: problems, plots, summary."""
