"""Dictionary of spectra and their activations: non-negative matrix factorisation of magnitudes.

The magnitude of every frame is a sum of the dictionary's spectra (atoms), each times an activation
of 0 or more. The dictionary is fitted to a dataset's training split; the activations of each frame
follow from it and from that frame alone.

Source: Lee & Seung 2001 (multiplicative steps that never increase the Kullback-Leibler divergence).
"""

import numpy as np

NAME = "dictionary"
"""Name of the dictionary among the fitted arrays."""

STEPS = 60
"""Multiplicative steps from which activations follow."""

TINY = 1e-8
"""Added to a divisor: far below the magnitude of a 16-bit recording's least bit."""

_FIT_STEPS = 80


def fit(magnitudes: np.ndarray, n_atoms: int) -> np.ndarray:
    """Return a dictionary of spectra of unit energy, the lowest first.

    Args:
      magnitudes: float32 [frames, bins], at least one frame.
      n_atoms: Number of spectra.

    Returns:
      float32 [n_atoms, bins].
    """
    atoms = _choose(magnitudes, n_atoms)
    activations = np.maximum(magnitudes @ atoms.T, np.float32(TINY))
    for _ in range(_FIT_STEPS):
        activations *= _ratio(magnitudes, activations, atoms) @ atoms.T
        activations /= atoms.sum(axis=1) + np.float32(TINY)
        np.maximum(activations, np.float32(TINY), out=activations)
        atoms *= activations.T @ _ratio(magnitudes, activations, atoms)
        atoms /= activations.sum(axis=0)[:, np.newaxis] + np.float32(TINY)
        np.maximum(atoms, np.float32(TINY), out=atoms)
    atoms /= np.sqrt(np.square(atoms).sum(axis=1, keepdims=True))
    centroids = (atoms @ np.arange(atoms.shape[1], dtype=np.float32)) / atoms.sum(axis=1)
    return atoms[np.argsort(centroids, kind="stable")]


def activate(magnitudes: np.ndarray, atoms: np.ndarray) -> np.ndarray:
    """Return the activations of a dictionary's atoms, float32 [frames, n_atoms].

    Args:
      magnitudes: float32 [frames, bins].
      atoms: float32 [n_atoms, bins].
    """
    activations = np.maximum(magnitudes @ atoms.T, np.float32(TINY))
    scale = 1 / (atoms.sum(axis=1) + np.float32(TINY))
    for _ in range(STEPS):
        activations *= (_ratio(magnitudes, activations, atoms) @ atoms.T) * scale
        np.maximum(activations, np.float32(TINY), out=activations)  # smaller numbers are slow
    return activations


def _ratio(magnitudes: np.ndarray, activations: np.ndarray, atoms: np.ndarray) -> np.ndarray:
    """Return magnitudes over those of the factorisation, [frames, bins]."""
    found = activations @ atoms
    found += np.float32(TINY)
    return np.divide(magnitudes, found, out=found)


def _choose(magnitudes: np.ndarray, n_atoms: int) -> np.ndarray:
    """Return the spectra to begin with: loud frames evenly spaced in time, all bins positive."""
    energy = np.square(magnitudes).sum(axis=1)
    loud = np.flatnonzero(energy >= np.median(energy))
    places = loud[np.arange(n_atoms) * len(loud) // n_atoms]
    # Atoms that begin alike would stay alike.
    noise = np.random.default_rng(0).uniform(0.5, 1.5, (n_atoms, magnitudes.shape[1]))
    floor = np.float32(1e-4) * np.sqrt(energy.max()) + np.float32(TINY)
    atoms = (magnitudes[places] + floor) * noise.astype(np.float32)
    return np.asarray(atoms / np.sqrt(np.square(atoms).sum(axis=1, keepdims=True)))
