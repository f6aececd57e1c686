"""What training and generation would ask of a TPU, found out on a machine without one."""
