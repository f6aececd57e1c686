"""A bucket of its own for each test."""

from collections.abc import Iterator

import buckets
import pytest


@pytest.fixture
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[buckets.Bucket]:
    """Yield an empty bucket that this process's client and subprocesses find."""
    with buckets.serve(tmp_path_factory.mktemp("bucket")) as made:
        yield made
