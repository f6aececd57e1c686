"""Every figure in the README, measured beside its baseline in one run."""
