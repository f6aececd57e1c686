"""Between the values of frames and the type that they are stored as."""

import numpy as np

_INT16_SCALE = 32768  # decoders of 16-bit audio divide by it


def unit(dtype: str) -> float:
    """Return the value that a stored 1 means: 1, or for int16 a 32768th of full scale."""
    return 1 / _INT16_SCALE if dtype == "int16" else 1.0


def store(values: np.ndarray, dtype: str) -> np.ndarray:
    """Return values as they are stored: the nearest that the type can hold.

    Args:
      values: float32, any shape.
      dtype: "float16", "float32" or "int16" (value * 32768, for samples; beyond full scale
        they are clipped).

    Returns:
      The same shape; infinite where float16 cannot hold a value; anything where int16 is given NaN.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is found by looking
        if dtype == "int16":
            scaled = np.rint(values * np.float32(_INT16_SCALE))
            return np.clip(scaled, -_INT16_SCALE, _INT16_SCALE - 1).astype(np.int16)
        return values.astype(dtype)


def load(stored: np.ndarray) -> np.ndarray:
    """Return stored values as float32; what `store` rounded stays rounded."""
    values = np.asarray(stored, np.float32)
    return values * np.float32(unit("int16")) if stored.dtype == np.int16 else values
