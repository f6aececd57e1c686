"""The command-line surface: one module per concern, and ready-made presets."""
