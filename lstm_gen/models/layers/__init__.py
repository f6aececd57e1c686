"""Keras layers that more than one model family uses."""
