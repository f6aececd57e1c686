"""Audio: reading and writing files, representations as frames, and their inversion."""
