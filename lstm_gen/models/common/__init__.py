"""Components that model families have in common."""
