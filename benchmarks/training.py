"""Training loop benchmark: overhead of the loop and of checkpoints over the compiled step.

The default model on prepared music, float32, on the CPU. The loop is the real one, with input
pipeline, logs and signal checks; validations and rollouts are off, since their cost is a setting.
"""

import pathlib
import statistics
import tempfile
from typing import Any

import numpy as np
import tensorflow as tf
import tqdm

from benchmarks import harness, preparation
from lstm_gen.config.training import AugmentationConfig, MonitorConfig, TrainingConfig, WindowConfig
from lstm_gen.dataset.format import manifest
from lstm_gen.dataset.input import excerpts
from lstm_gen.models.lstm.config import LSTMConfig
from lstm_gen.platform import devices
from lstm_gen.runs import lease
from lstm_gen.runs import run as runs
from lstm_gen.training import batches, loop, step, stop_request

_ROUNDS = 15
_NEVER = 1 << 30
_CONFIG = LSTMConfig()
_QUIET = MonitorConfig(
    steps_per_call=1,  # so that the loop runs after every step
    validate_every_steps=_NEVER,
    checkpoint_every_steps=_NEVER,
    sample_every_steps=0,
)


def rows() -> list[harness.Row]:
    """Return the overhead of the loop and of checkpoints."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = pathlib.Path(folder)
        run, dataset = _make_run(scratch)
        strategy = devices.strategy("cpu")
        trainer = _make_trainer(str(scratch / "run"), run, dataset, strategy)
        with tqdm.tqdm(disable=True) as bar:
            times = _measure(trainer, run, dataset, strategy, bar)
    seconds = statistics.median(times["bare"])
    every = MonitorConfig.checkpoint_every_steps
    saving = statistics.median(times["save"])
    return [
        harness.Row(
            what="training loop, one step per call, 2 x 512, batch 16",
            baseline="the compiled step alone, on one batch in memory",
            value=100 * (harness.ratio(times["loop"], times["bare"]) - 1),
            unit="% more",
            target=5,
            at_least=False,
            detail=f"{seconds * 1e3:.0f} ms a bare step",
        ),
        harness.Row(
            what="checkpoints at the default interval",
            baseline="the steps between them",
            value=100 * saving / (every * seconds),
            unit="% more",
            target=3,
            at_least=False,
            detail=f"{saving * 1e3:.0f} ms each, every {every} steps; on local disk, made durable",
        ),
    ]


def _make_run(scratch: pathlib.Path) -> tuple[runs.Run, manifest.Dataset]:
    """Return a run with default settings on prepared music."""
    preparation.prepare(preparation.find_music(scratch), scratch / "dataset", 2)
    dataset = manifest.load(str(scratch / "dataset"))
    run = runs.Run(
        settings=_CONFIG,
        window=WindowConfig(shift=_CONFIG.patch_frames),
        training=TrainingConfig(steps=_NEVER),
        audio=dataset.audio,
        normalisation=dataset.normalisation,
        data_dir=dataset.data_dir,
        fingerprint=dataset.fingerprint,
        augmentation=AugmentationConfig(),
    )
    return run, dataset


def _make_trainer(
    run_dir: str, run: runs.Run, dataset: manifest.Dataset, strategy: tf.distribute.Strategy
) -> loop.Trainer:
    loop.set_up(run.training, strategy)
    runs.open_or_create(run_dir, run)
    primer = excerpts.Excerpts(np.zeros([1, 1, run.audio.channels], np.float32), {})
    return loop.Trainer(
        run_dir,
        run,
        dataset,
        _QUIET,
        strategy,
        primer,
        lease.Lease(),
        stop_request.StopRequest(),
        "",
    )


def _measure(
    trainer: loop.Trainer,
    run: runs.Run,
    dataset: manifest.Dataset,
    strategy: tf.distribute.Strategy,
    bar: Any,
) -> dict[str, list[float]]:
    """Return the interleaved seconds of a bare step, a loop iteration and a checkpoint."""
    stream = iter(batches.training(strategy, run, dataset, 0))
    memory = iter(tf.data.Dataset.from_tensors(next(stream)).repeat())
    made = trainer._state
    call = step.make_train_call(strategy, made.objectives, made.optimizers, run.training)
    first, count = tf.constant(0), tf.constant(1)
    loss = f"{made.objectives[0].name}_loss"
    return harness.interleave(
        {
            "bare": lambda: call(memory, first, count)[loss].numpy(),
            "loop": lambda: trainer._advance(stream, bar),
            "save": lambda: made.save(keep=2),
        },
        _ROUNDS,
        warmup=2,
    )
