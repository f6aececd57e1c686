"""Between the values of frames and the type that they are stored as."""

import numpy as np

# Of 16-bit audio: decoders return integers divided by this.
_INT16_SCALE = np.float32(32768)


def store(values: np.ndarray, dtype: str) -> np.ndarray:
    """Return values as they are stored: the nearest that the type can hold.

    Args:
      values: float32, any shape.
      dtype: "float16", "float32" or "int16" (value * 32768, for samples; beyond full scale
        they are clipped).

    Returns:
      The same shape; infinite where float16 cannot hold a value.
    """
    if dtype == "int16":
        return np.clip(np.rint(values * _INT16_SCALE), -32768, 32767).astype(np.int16)
    with np.errstate(over="ignore"):
        return values.astype(dtype)


def load(stored: np.ndarray) -> np.ndarray:
    """Return stored values as float32; what `store` rounded stays rounded."""
    values = np.asarray(stored, np.float32)
    return values / _INT16_SCALE if stored.dtype == np.int16 else values
