"""TPU preflight: training and generation compiled for a TPU, on a machine without one."""
