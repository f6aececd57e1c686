"""The `waveform_vae` family: variational autoencoders of samples."""
