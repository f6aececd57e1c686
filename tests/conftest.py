"""What holds for every test: one back end, no accelerator, no display, quiet logs."""

import os
from collections.abc import Iterator

import pytest

os.environ["KERAS_BACKEND"] = "tensorflow"  # whatever the user's keras.json says
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["TPU_SKIP_MDS_QUERY"] = "1"
os.environ["MPLBACKEND"] = "Agg"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Matrices are small, and threads that wait for each other take the cores of the other tests.
os.environ["OPENBLAS_NUM_THREADS"] = "1"


@pytest.fixture(scope="module")
def without_xla() -> Iterator[None]:
    """Run as graphs what XLA would take seconds to compile; with it, tests/models/test_families."""
    from lstm_gen.platform import devices

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(devices, "compiles_with_xla", lambda *_: False)
        yield
