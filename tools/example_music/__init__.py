"""A small synthesiser: pieces for plucked strings, composed and played from a seed."""
