"""The run directory: configuration, checkpoints, weights, lease."""
