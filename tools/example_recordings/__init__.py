"""Example recordings: guitar pieces composed and synthesised from a seed."""
