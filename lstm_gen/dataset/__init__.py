"""Datasets: prepared from recordings, stored, read as batches, inspected."""
