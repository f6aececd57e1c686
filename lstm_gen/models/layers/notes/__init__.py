"""Notes with phase: their frames as images, who makes them, one after another."""
