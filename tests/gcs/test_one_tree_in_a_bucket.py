"""The same recordings give the same tree in a bucket as here, whoever makes it."""

import itertools
import pathlib

import buckets
import commands
import pytest


@pytest.mark.parametrize(
    "every", [5, pytest.param(1, marks=pytest.mark.faults)], ids=["three ways", "every way"]
)
def test_one_tree(every: int, bucket: buckets.Bucket, tmp_path: pathlib.Path) -> None:
    recordings = commands.make_recordings(9)
    commands.put(bucket, recordings)
    tree = commands.local_tree(bucket, tmp_path, recordings)
    assert len(tree) > 8
    for workers, threads, shuffled in list(itertools.product((1, 2, 8), (1, 4), (0, 1)))[::every]:
        bucket.server.store.listing_seed = shuffled
        data_dir = f"{workers}-{threads}-{shuffled}"
        for _ in range(2):  # the second time there is nothing to do
            told = commands.finish(
                "create_tfrecord",
                *(*commands.PREPARE, f"--workers={workers}"),
                *(f"--input_dir={bucket.url}/recordings", f"--data_dir={bucket.url}/{data_dir}"),
                bucket=bucket,
                OPENBLAS_NUM_THREADS=str(threads),
                OMP_NUM_THREADS=str(threads),
            )
            assert commands.digests(bucket.contents(f"{data_dir}/")) == tree
        assert "nothing to do" in told
