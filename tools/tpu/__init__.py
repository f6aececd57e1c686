"""TPU preflight: compiles training and generation for a TPU without having one."""
