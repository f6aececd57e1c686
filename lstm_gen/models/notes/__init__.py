"""The `gan` and `note_vae` families: single notes with phase, conditioned on pitch."""
