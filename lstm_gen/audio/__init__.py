"""Sound: files in and out, features, and features back to a waveform."""
