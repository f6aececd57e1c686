"""The command line: commands, and flags made from settings."""
