"""Export: a trained generator as a SavedModel, from the primer's samples to the song's.

A server needs neither this program nor the dataset. The one signature is

    seed         int32 []; each seed generates another song
    primer       float32 [samples] at the run's sample rate, continued by the song; may be empty
    seconds      float32 [], length of the song
    temperature  float32 [], factor on the calibrated one; 1 for the songs of generate_songs.py
    -> waveform  float32 [samples], scaled down if it is louder than full scale
"""

import dataclasses
import pathlib
import tempfile
from typing import Any

import numpy as np
import tensorflow as tf

from lstm_gen import models
from lstm_gen.audio import files, tf_inversion
from lstm_gen.config import fields
from lstm_gen.config.generation import GenerationConfig
from lstm_gen.generation import request
from lstm_gen.models import base
from lstm_gen.platform import devices, errors, storage
from lstm_gen.runs import run as runs

_FACTS = "assets.extra/generator.json"  # a directory that servers ignore


class Generator(tf.Module):
    """Generator of a run as a TensorFlow graph.

    Args:
      run: The run.
      model: Its trained model.
      sampling: Sampling settings; its temperature is a factor on that of a request.
      n_iterations: Iterations of the inversion.
      max_seconds: Longest song, seconds; a longer request is an error.
    """

    def __init__(
        self,
        run: runs.Run,
        model: Any,
        sampling: base.Sampling,
        n_iterations: int,
        max_seconds: float,
    ) -> None:
        super().__init__(name="generator")
        errors.require(
            run.family.exportable,
            "a model of this family cannot be exported, those of these can: "
            + models.names_with(lambda one: one.exportable),
            model=run.settings.family,
        )
        errors.require(
            not run.condition,
            "a model conditioned on labels cannot be exported yet; use generate_songs.py",
            condition=",".join(run.condition),
        )
        self._run, self._model = run, model
        self.sampling, self._n_iterations = sampling, n_iterations
        self._max_seconds = max_seconds
        self.weights = [variable.value for variable in model.variables]
        self.generate = tf.function(self._generate, input_signature=_signature())

    def generate_song(
        self, seed: int, primer: np.ndarray, seconds: float, temperature: float
    ) -> np.ndarray:
        """Return a song generated in this process, float32 [samples]."""
        song = self.generate(
            tf.constant(seed, tf.int32),
            tf.constant(primer, tf.float32),
            tf.constant(seconds, tf.float32),
            tf.constant(temperature, tf.float32),
        )
        return np.asarray(song["waveform"])

    def _generate(self, seed: Any, primer: Any, seconds: Any, temperature: Any) -> dict[str, Any]:
        """Return the outputs of the signature."""
        run = self._run
        fits = (seconds > 0) & (seconds <= self._max_seconds) & (temperature > 0)
        message = f"seconds must be up to {self._max_seconds:g}, and temperature positive"
        with (
            devices.portable(),
            tf.control_dependencies([tf.debugging.Assert(fits, [message, seconds, temperature])]),
        ):
            rate = tf.cast(seconds, tf.float64) * run.audio.frames_per_second
            n_frames = tf.maximum(1, tf.cast(tf.round(rate), tf.int32))
            frames = tf_inversion.extract(tf.concat([primer, _silence(primer)], axis=0), run.audio)
            mean, std = run.normalisation.mean, run.normalisation.std
            primed = ((frames - mean) / std)[tf.newaxis]
            fixed = [tf.constant(value) for value in dataclasses.astuple(self.sampling)]
            sampling = (temperature * fixed[0], *fixed[1:])
            song = self._model.generate_in_graph(primed, n_frames, seed, sampling)
            samples = tf_inversion.invert(song[0] * std + mean, run.audio, self._n_iterations)
            peak = tf.reduce_max(tf.abs(samples))
            return {"waveform": samples * (files.PEAK / tf.maximum(peak, files.PEAK))}


def load(
    run: runs.Run, config: GenerationConfig, n_iterations: int, max_seconds: float
) -> Generator:
    """Return the generator of a run; for the arguments see `write`.

    Raises:
      InputError: If there are no trained weights, or the family cannot be exported.
    """
    sampling = request.sampling(config, run)
    return Generator(run, run.load_model(), sampling, n_iterations, max_seconds)


def write(
    run_dir: str,
    output_dir: str,
    config: GenerationConfig,
    n_iterations: int,
    max_seconds: float,
) -> None:
    """Write the generator of a run as a SavedModel.

    Args:
      run_dir: The run directory.
      output_dir: Directory to write, missing or empty.
      config: The sampling settings; those that are None are as calibrated.
      n_iterations: Iterations of the inversion.
      max_seconds: Longest song that can be requested, seconds.

    Raises:
      InputError: If `output_dir` is not empty, there are no trained weights, or the family cannot
        be exported.
    """
    errors.require(
        not storage.list_names(output_dir),
        "output_dir must be empty; choose a new one for each version, as servers expect",
        output_dir=output_dir,
    )
    run = runs.load(run_dir)
    generator = load(run, config, n_iterations, max_seconds)
    facts = {
        "run_dir": run_dir,
        "model": run.settings.family,
        "sample_rate": run.audio.sample_rate,
        "hop_length": run.audio.hop_length,
        **dataclasses.asdict(generator.sampling),
        "inversion_iterations": n_iterations,
        "max_seconds": max_seconds,
    }
    with tempfile.TemporaryDirectory() as work:
        traced = generator.generate.get_concrete_function()
        tf.saved_model.save(generator, work, signatures={"serving_default": traced})
        storage.write_text(storage.join(work, _FACTS), fields.to_json(facts))
        # The graph last: a server that watches the directory waits for it.
        for name in sorted(storage.walk_files(work), key=lambda name: name == "saved_model.pb"):
            content = pathlib.Path(work, name).read_bytes()
            storage.write_bytes(storage.join(output_dir, name), content)


def _signature() -> list[tf.TensorSpec]:
    return [
        tf.TensorSpec([], tf.int32, "seed"),
        tf.TensorSpec([None], tf.float32, "primer"),
        tf.TensorSpec([], tf.float32, "seconds"),
        tf.TensorSpec([], tf.float32, "temperature"),
    ]


def _silence(primer: Any) -> Any:
    """Return one sample of silence if the primer is empty, else none."""
    return tf.zeros([tf.cast(tf.shape(primer)[0] == 0, tf.int32)], tf.float32)
