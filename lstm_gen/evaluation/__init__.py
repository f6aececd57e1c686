"""Judging free-running output, and the baselines a model must beat."""
