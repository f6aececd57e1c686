"""Latent variables: approximate posteriors, fitted priors, Gaussian mixtures."""
