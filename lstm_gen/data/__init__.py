"""The dataset directory: planned, written, described, read."""
