"""Settings of every stage: frozen dataclasses, no TensorFlow."""
