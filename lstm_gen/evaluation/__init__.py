"""Evaluation of trained models beside real music and baselines."""
