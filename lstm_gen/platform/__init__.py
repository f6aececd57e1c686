"""Platform: storage, devices, compilation, errors and failpoints; nothing about audio."""
