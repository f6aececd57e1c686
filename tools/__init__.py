"""Further commands, each as thin as the three at the top level."""
