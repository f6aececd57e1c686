"""What the tools that judge models share: their dataset, their songs, where a table goes."""

from collections.abc import Mapping

import numpy as np

from flags import device_flags, judged_flags
from lstm_gen.config.generation import GenerationConfig
from lstm_gen.dataset.format import manifest
from lstm_gen.generation import request, rollout
from lstm_gen.generation import songs as generation
from lstm_gen.models import base
from lstm_gen.platform import errors, storage
from lstm_gen.runs import run as runs


def load_dataset(found: Mapping[str, runs.Run]) -> manifest.Dataset:
    """Return the one dataset of runs, by their directories, which must hold out something.

    Raises:
      InputError: If they are of several datasets, of another one, or nothing is held out.
    """
    errors.require(
        len({run.fingerprint for run in found.values()}) == 1,
        "every --run_dir must be of the same dataset; evaluate the others by themselves",
        run_dir=list(found),
    )
    run_dir, run = next(iter(found.items()))
    dataset = manifest.load(judged_flags.data_dir() or run.data_dir)
    errors.require(
        dataset.fingerprint == run.fingerprint,
        "the dataset must be the one that the runs were trained on; name it with --data_dir",
        data_dir=dataset.data_dir,
        run_dir=run_dir,
    )
    errors.require(
        dataset.splits["validation"].n_records > 0,
        "the dataset must hold out a validation split; make it again with a larger "
        "--validation_fraction",
        data_dir=dataset.data_dir,
    )
    return dataset


def make_songs(
    run: runs.Run,
    songs: GenerationConfig,
    data_dir: str,
    model_request: base.GenerationRequest | None = None,
) -> np.ndarray:
    """Return the frames of a run's songs, normalised, float32 [n_songs, n_frames, channels].

    Args:
      run: The run.
      songs: What is asked for.
      data_dir: Where primers are taken from.
      model_request: The same as the model is told it, if it is to be told otherwise.
    """
    request.require_supported(songs, run)
    model_request = model_request or request.for_model(songs, run)
    groups = rollout.deal(songs.n_songs, songs.songs_at_once)
    frames = rollout.roll_out(
        run,
        model_request,
        generation.load_primer(run, songs, data_dir),
        groups,
        device_flags.devices(),
        songs.precision,
        show_progress=True,
    )
    return np.stack(list(frames.values()))


def tell(text: str) -> None:
    """Print tables, and write them if asked to."""
    print(text)
    if judged_flags.output():
        storage.write_text(judged_flags.output(), text.rstrip("\n") + "\n")
