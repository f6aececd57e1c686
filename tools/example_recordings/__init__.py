"""Example recordings: pieces for a small band, composed and synthesised from a seed."""
