"""Recordings to a trained audio generator, and from there to new songs."""

__version__ = "0.1.0"
