"""The `vae` family: variational autoencoders of spectrograms."""
