"""The run directory: configuration, checkpoints, weights, and its one owner."""
