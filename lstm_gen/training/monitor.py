"""Logging of a training: TensorBoard, pictures, sounds, a GIF, and Vertex AI's tuning metric."""

import io
import itertools
import json
import os
import re
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging
from PIL import Image
from tensorboard.plugins.hparams import api as hparams

from lstm_gen.audio import files, plots, representations
from lstm_gen.config import fields
from lstm_gen.config.audio import INVERSION_ITERATIONS
from lstm_gen.config.training import MonitorConfig
from lstm_gen.dataset.format import labels
from lstm_gen.dataset.input import excerpts
from lstm_gen.models import base
from lstm_gen.models.latents.latent_model import LatentModel
from lstm_gen.platform import errors, storage
from lstm_gen.runs import run as runs
from lstm_gen.training import stop_request

_PREVIEW_ITERATIONS = INVERSION_ITERATIONS["preview"]

ANIMATION = "training.gif"
_PICTURE = re.compile(r"step-(?P<step>\d+)-(?P<kind>clip|song)-(?P<index>\d+)\.png")
_GIF_WIDTH = 640
_MAX_GIF_FRAMES = 60
_GIF_COLOURS = 64
_FRAME_MILLISECONDS, _LAST_FRAME_MILLISECONDS = 400, 2000

_METRIC_FILE_VARIABLE = "CLOUD_ML_HP_METRIC_FILE"
_METRIC_TAG_VARIABLE = "CLOUD_ML_HP_METRIC_TAG"
_TRIAL_VARIABLE = "CLOUD_ML_TRIAL_ID"
_MAX_METRIC_LINES = 100


class _StopRequestedError(Exception):
    """A rollout was interrupted by a request to stop."""


class Monitor:
    """Writer of a run's scalars, pictures and sounds.

    Args:
      run_dir: Directory to write.
      run: The run.
      settings: Number and length of the rollouts.
      primer: n_samples excerpts, continued by rollouts and reconstructed.
      stop: Request to stop, for which pictures and sounds are left out.
    """

    def __init__(
        self,
        run_dir: str,
        run: runs.Run,
        settings: MonitorConfig,
        primer: excerpts.Excerpts,
        stop: stop_request.StopRequest,
    ) -> None:
        self._run_dir = run_dir
        self._run = run
        self._settings = settings
        self._primer = primer
        self._stop = stop
        drawn = [
            labels.draw(run.vocabulary, run.condition, run.training.seed, song)
            for song in range(settings.n_samples)
        ]
        self._labels = labels.stack(run.conditioning, drawn)
        self._writer = tf.summary.create_file_writer(runs.logs_dir(run_dir))

        with self._writer.as_default():
            hparams.hparams(self._hyperparameters())

    def log_scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Log scalars of a step."""
        with self._writer.as_default(step):
            for name, value in values.items():
                tf.summary.scalar(name, value)

    def log_prediction(self, step: int, model: Any, batch: base.Batch) -> None:
        """Log a picture of one window: the true frames, and those that the model expects."""
        run = self._run
        expected = model.predict_frames(batch)[0].numpy()
        true = batch["frames"][0, run.window.shift :].numpy()
        made = f"predicted, {run.window.shift} ahead" if run.window.shift else "reconstructed"
        panels = [("true", true), (made, expected)]
        raw = [(title, run.normalisation.undo(frames)) for title, frames in panels]
        path = storage.join(self._run_dir, "samples", f"step-{step:08d}-prediction.png")
        plots.compare(path, raw, run.audio)
        self._image(step, "prediction", path)

    def log_rollout(self, step: int, model: Any) -> None:
        """Write free rollouts as WAV and PNG, and log them as audio and images."""
        run = self._run
        n_frames = max(1, round(self._settings.sample_seconds * run.audio.frames_per_second))
        request = base.GenerationRequest(
            n_songs=self._settings.n_samples, n_frames=n_frames, labels=self._labels
        )
        primer = self._primer.frames
        try:
            songs = model.generate(request, primer, self._check_stop)
        except _StopRequestedError:
            return
        for index, song in enumerate(run.normalisation.undo(songs)):
            self._sound(step, f"song {index}", [(f"step {step}", song)])

    def _check_stop(self, _: int) -> None:
        """Interrupt a rollout when a stop is requested."""
        if self._stop:
            raise _StopRequestedError

    def log_reconstruction(self, step: int, model: Any) -> None:
        """Write and log the excerpts as reconstructed by a model with latents.

        The picture shows the excerpt below its reconstruction; its own sound is written once.
        """
        run = self._run
        if not isinstance(model, LatentModel) or self._stop:
            return
        frames, every_label = self._primer
        conditions = {f"label/{name}": every_label[f"label/{name}"] for name in run.condition}
        latents = model.encode(frames, conditions)
        made = model.decode(latents, frames.shape[1], conditions)
        originals = run.normalisation.undo(frames)
        for index, (song, original) in enumerate(
            zip(run.normalisation.undo(made), originals, strict=True)
        ):
            own = storage.join(self._run_dir, "samples", f"clip-{index}-held-out.wav")
            if not self._stop and not storage.exists(own):
                samples = representations.invert(original, run.audio, _PREVIEW_ITERATIONS)
                files.write(own, samples, run.audio.sample_rate)
            panels = [(f"reconstructed, step {step}", song), ("held out", original)]
            self._sound(step, f"clip {index}", panels)

    def animate(self) -> None:
        """Write a GIF of the pictures of all steps."""
        write_animation(storage.join(self._run_dir, "samples"))

    def _sound(self, step: int, name: str, panels: list[tuple[str, np.ndarray]]) -> None:
        """Write and log the sound of the first panel, and a picture of all panels."""
        if self._stop:
            return
        run, (_, frames) = self._run, panels[0]
        dashed = name.replace(" ", "-")
        path = storage.join(self._run_dir, "samples", f"step-{step:08d}-{dashed}")
        try:
            samples = representations.invert(frames, run.audio, _PREVIEW_ITERATIONS)
        except errors.InputError as error:  # a diverged rollout must not end the training
            logging.warning("%s of step %d has no sound: %s", name, step, error)
            return
        files.write(f"{path}.wav", samples, run.audio.sample_rate)
        plots.compare(f"{path}.png", panels, run.audio)
        self._image(step, name, f"{path}.png")
        self._audio(step, name, samples)

    def log_histograms(self, step: int, model: Any) -> None:
        """Log a histogram of every weight."""
        with self._writer.as_default(step):
            for variable in model.trainable_variables:
                tf.summary.histogram(variable.path, variable)

    def flush(self) -> None:
        """Flush the log to its file."""
        self._writer.flush()

    def _hyperparameters(self) -> dict[str, Any]:
        """Return the settings of model and training, by which TensorBoard compares runs."""
        parts = {
            "model": self._run.settings,
            "window": self._run.window,
            "training": self._run.training,
        }
        return {
            f"{part}.{name}": value
            for part, settings in parts.items()
            for name, value in fields.to_dict(settings).items()
        }

    def _image(self, step: int, name: str, path: str) -> None:
        image = tf.io.decode_png(storage.read_bytes(path), channels=3)
        with self._writer.as_default(step):
            tf.summary.image(name, image[tf.newaxis])

    def _audio(self, step: int, name: str, samples: np.ndarray) -> None:
        peak = max(1.0, float(np.abs(samples).max(initial=0.0)))
        with self._writer.as_default(step):
            clip = (samples / peak)[np.newaxis, :, np.newaxis]
            tf.summary.audio(name, clip, self._run.audio.sample_rate, max_outputs=1)


def write_animation(directory: str) -> str:
    """Write `training.gif` from the pictures in a directory, those of earlier starts included.

    It shows reconstructions of held-out clips if there are any, else songs; those of one step are
    stacked. At most 60 steps are shown, the first and the last among them.

    Args:
      directory: Local or gs:// path of a run's samples.

    Returns:
      The path of the GIF; "" if there are not two steps to show.
    """
    found = [match for name in storage.list_names(directory) if (match := _PICTURE.fullmatch(name))]
    kinds = {match["kind"] for match in found}
    shown = sorted(
        (int(match["step"]), int(match["index"]), match.string)
        for match in found
        if match["kind"] == min(kinds)
    )
    steps = [list(rows) for _, rows in itertools.groupby(shown, key=lambda row: row[0])]
    complete = [rows for rows in steps if len(rows) == max(map(len, steps))]
    if len(complete) < 2:
        return ""
    count = min(len(complete), _MAX_GIF_FRAMES)
    chosen = [complete[index * (len(complete) - 1) // (count - 1)] for index in range(count)]
    frames = [_stack([storage.join(directory, row[2]) for row in rows]) for rows in chosen]
    content = io.BytesIO()
    frames[0].save(
        content,
        format="GIF",
        save_all=True,
        append_images=frames[1:],
        duration=[_FRAME_MILLISECONDS] * (count - 1) + [_LAST_FRAME_MILLISECONDS],
        loop=0,
    )
    path = storage.join(directory, ANIMATION)
    storage.write_bytes(path, content.getvalue())
    return path


def _stack(paths: list[str]) -> Image.Image:
    """Return pictures one below the other, scaled down and with few colours."""
    pictures: list[Image.Image] = []
    for path in paths:
        with Image.open(io.BytesIO(storage.read_bytes(path))) as opened:
            height = round(opened.height * _GIF_WIDTH / opened.width)
            pictures.append(opened.convert("RGB").resize((_GIF_WIDTH, height)))
    whole = Image.new("RGB", (_GIF_WIDTH, sum(picture.height for picture in pictures)))
    top = 0
    for picture in pictures:
        whole.paste(picture, (0, top))
        top += picture.height
    return whole.quantize(_GIF_COLOURS)


class TuningMetric:
    """The metric file that Vertex AI's hyper-parameter tuning reads, if the environment names one.

    Source: the file that cloudml-hypertune writes: a JSON object a line, the newest last.
    """

    def __init__(self) -> None:
        self._path = os.environ.get(_METRIC_FILE_VARIABLE, "")
        self._lines: deque[str] = deque(maxlen=_MAX_METRIC_LINES)

    def add(self, step: int, name: str, value: float) -> None:
        """Add the metric of a validation.

        Args:
          step: Optimizer steps done.
          name: Name of the metric, unless the environment names it.
          value: The metric.
        """
        if not self._path:
            return
        line = {
            "timestamp": time.time(),
            "trial": os.environ.get(_TRIAL_VARIABLE, "0"),
            os.environ.get(_METRIC_TAG_VARIABLE, name): str(value),
            "global_step": str(step),
            "checkpoint_path": "",
        }
        self._lines.append(json.dumps(line))
        storage.write_text(self._path, "\n".join(self._lines) + "\n")
