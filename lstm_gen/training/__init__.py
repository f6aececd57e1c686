"""Training: step, loop, state, checkpoints, logging."""
