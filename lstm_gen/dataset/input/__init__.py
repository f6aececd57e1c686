"""Training input: shards to shuffled batches of windows."""
