"""The `autoencoder` family: convolutional, started from principal components."""
