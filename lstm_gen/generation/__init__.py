"""From a trained model to songs on disk."""
