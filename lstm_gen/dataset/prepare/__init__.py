"""Preparation: recordings to shards, restartable; imports no TensorFlow."""
