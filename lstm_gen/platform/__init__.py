"""Storage, devices and compilation: everything that knows nothing of music."""
