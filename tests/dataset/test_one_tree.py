"""The same recordings give the same tree, whoever makes it and however often."""

import hashlib
import itertools
import os
import pathlib
import subprocess
import sys

import pytest

from lstm_gen.dataset.format import integrity

ROOT = pathlib.Path(__file__).parents[2]
FLAGS = ("--sample_rate=8000", "--n_fft=1024", "--hop_length=256", "--n_mels=80")

# A listing in another order, as another file system would give it.
SHUFFLED = """
import os, pathlib, random
walk = os.walk
def shuffled(*arguments, **named):
    pathlib.Path(__file__).with_name("fired").touch()
    for folder, folders, names in walk(*arguments, **named):
        random.Random(len(names) + 5).shuffle(folders)
        random.Random(len(names)).shuffle(names)
        yield folder, folders, names
os.walk = shuffled
"""


def make(
    recordings: pathlib.Path, data_dir: pathlib.Path, workers: int, threads: int, site: str
) -> str:
    """Run the command; return one digest of its tree."""
    subprocess.run(
        [
            *(sys.executable, "create_tfrecord.py", *FLAGS, f"--workers={workers}"),
            *(f"--input_dir={recordings}", f"--data_dir={data_dir}"),
        ],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": site,
            "OPENBLAS_NUM_THREADS": str(threads),
            "OMP_NUM_THREADS": str(threads),
        },
        capture_output=True,
        check=True,
        timeout=120,
    )
    files = [path for path in sorted(data_dir.rglob("*")) if integrity.STATE_DIR not in path.parts]
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(data_dir)}".encode() + path.read_bytes())
    assert len(files) > 3
    return digest.hexdigest()


def compare(recordings: pathlib.Path, tmp_path: pathlib.Path, all_of_them: bool) -> None:
    """Make the dataset in many ways and count the trees."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(SHUFFLED)
    sites = (str(ROOT), f"{tmp_path / 'site'}:{ROOT}")
    ways = list(itertools.product((1, 2, 8), (1, 4), sites))
    found = set()
    for index, way in enumerate(ways if all_of_them else ways[::5]):
        data_dir = tmp_path / str(index)
        found.add(make(recordings, data_dir, *way))
        found.add(make(recordings, data_dir, *way))  # again, with nothing to do
    assert (tmp_path / "site" / "fired").exists()
    assert len(found) == 1


def test_one_tree_in_three_ways(recordings: pathlib.Path, tmp_path: pathlib.Path) -> None:
    compare(recordings, tmp_path, all_of_them=False)


@pytest.mark.faults
def test_one_tree_in_every_way(recordings: pathlib.Path, tmp_path: pathlib.Path) -> None:
    compare(recordings, tmp_path, all_of_them=True)
