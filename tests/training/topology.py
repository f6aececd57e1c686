"""Train on some devices and save what was read, lost and learned: run by test_topologies.

    python topology.py DATASET RESULT STEPS DEVICES...

With TF_CONFIG set, DEVICES is 1 and stands for the processes that it names. Otherwise one of
DEVICES may be more than 1: a process has one group of devices that reduce together.
"""

import dataclasses
import hashlib
import sys
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tiny

from lstm_gen.dataset.format import manifest
from lstm_gen.dataset.input import pipeline
from lstm_gen.models.lstm.config import LSTMConfig
from lstm_gen.platform import cluster, devices
from lstm_gen.training import step as steps

SETTINGS = LSTMConfig(
    **tiny.FAMILY_SETTINGS["lstm"] | {"layers": 1, "units": 16, "dropout": 0.2}, input_noise=0.3
)


def train(strategy: tf.distribute.Strategy, path: str, n_steps: int) -> dict[str, Any]:
    """Return ids and rows that this process read, losses of each step, and the weights' hash."""
    window = dataclasses.replace(tiny.WINDOW, shift=SETTINGS.patch_frames)
    run = dataclasses.replace(
        tiny.make_run(manifest.load(path), batch_size=8), settings=SETTINGS, window=window
    )
    keras.utils.set_random_seed(3)
    with strategy.scope():
        model = run.build_model()
        objectives = model.objectives()
        optimizers = steps.make_optimizers(run.training, objectives)
    batches = pipeline.distributed_windows(
        strategy, manifest.load(path), "train", window=run.window, batch_size=8, seed=3
    )
    call = steps.make_train_call(strategy, objectives, optimizers, run.training)
    metrics = call(iter(batches), tf.constant(0), tf.constant(n_steps))
    digest = hashlib.sha256(b"".join(weight.numpy().tobytes() for weight in model.weights))
    iterator = iter(batches)
    read = [next(iterator) for _ in range(n_steps)]
    columns = {
        name: np.stack(
            [np.concatenate(strategy.experimental_local_results(batch[name])) for batch in read]
        )
        for name in ("row", "recording", "start_frame")
    }
    # Each puts in its number among the processes: all must get the same back.
    average = devices.average(strategy, float(cluster.member().rank))
    return columns | {
        "average": average,
        "loss": metrics[f"{objectives[0].name}_loss"].numpy(),
        "weights": digest.hexdigest(),
    }


def main() -> None:
    path, result, n_steps, *counts = sys.argv[1:]
    # Those that are most come first: a processor is split once.
    strategies = [devices.strategy("cpu", n) for n in sorted(map(int, counts), reverse=True)]
    tf.config.experimental.enable_op_determinism()
    found: dict[str, Any] = {}
    for strategy in strategies:
        values = train(strategy, path, int(n_steps))
        name = f"{strategy.num_replicas_in_sync} devices"
        found |= {f"{name}: {key}": value for key, value in values.items()}
    np.savez(result, **found)


if __name__ == "__main__":
    main()
