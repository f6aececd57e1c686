"""The training step, the loop around it, checkpoints and what is logged."""
