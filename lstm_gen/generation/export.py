"""A trained generator as a SavedModel: from the primer's samples to the song's in one graph.

It has one signature, and whoever serves it needs neither this program nor the dataset:

    seed         int32 [], another seed, another song
    primer       float32 [samples] at the run's sample rate, what the song continues; may be empty
    seconds      float32 [], length of the song
    temperature  float32 [], of the choice among mixture components
    -> waveform  float32 [samples]; louder than full scale it is scaled down, as in a file
"""

import pathlib
import tempfile
from typing import Any

import numpy as np
import tensorflow as tf

from lstm_gen import models
from lstm_gen.audio import files, tf_inversion
from lstm_gen.config import fields
from lstm_gen.platform import devices, errors, storage
from lstm_gen.runs import run as runs

_FACTS = "assets.extra/generator.json"  # a place that servers leave alone


class Generator(tf.Module):
    """The generator of a run, as a graph.

    Args:
      run: What the run directory says.
      model: Its trained model.
      sigma_scale: Factor on the deviation that is sampled.
      n_iterations: Of the inversion.
      max_seconds: Longest song; a request for more is an error.
    """

    def __init__(
        self,
        run: runs.Run,
        model: Any,
        sigma_scale: float,
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
        self._sigma_scale, self._n_iterations = sigma_scale, n_iterations
        self._max_seconds = max_seconds
        self.weights = [variable.value for variable in model.variables]
        self.generate = tf.function(self._generate, input_signature=_signature())

    def make(self, seed: int, primer: np.ndarray, seconds: float, temperature: float) -> np.ndarray:
        """Return the song in this process, float32 [samples]."""
        song = self.generate(
            tf.constant(seed, tf.int32),
            tf.constant(primer, tf.float32),
            tf.constant(seconds, tf.float32),
            tf.constant(temperature, tf.float32),
        )
        return np.asarray(song["waveform"])

    def _generate(self, seed: Any, primer: Any, seconds: Any, temperature: Any) -> dict[str, Any]:
        """Return the song; the whole signature."""
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
            scales = (temperature, tf.constant(self._sigma_scale, tf.float32))
            song = self._model.generate_in_graph(primed, n_frames, seed, scales)
            samples = tf_inversion.invert(song[0] * std + mean, run.audio, self._n_iterations)
            peak = tf.reduce_max(tf.abs(samples))
            return {"waveform": samples * (files.PEAK / tf.maximum(peak, files.PEAK))}


def load(
    run_dir: str, sigma_scale: float, n_iterations: int, max_seconds: float
) -> tuple[runs.Run, Generator]:
    """Return a run and its generator.

    Raises:
      InputError: If there are no trained weights, or the family cannot be exported.
    """
    run = runs.load(run_dir)
    model = runs.load_model(run_dir, run)
    return run, Generator(run, model, sigma_scale, n_iterations, max_seconds)


def write(
    run_dir: str, output_dir: str, sigma_scale: float, n_iterations: int, max_seconds: float
) -> None:
    """Write the generator of a run as a SavedModel.

    Args:
      run_dir: A directory that training made.
      output_dir: Where it goes: a directory that is not there, or empty.
      sigma_scale: Factor on the deviation that is sampled.
      n_iterations: Of the inversion.
      max_seconds: Longest song that may be asked for.

    Raises:
      InputError: If there is something in `output_dir`, there are no trained weights, or the
        family cannot be exported.
    """
    errors.require(
        not storage.list_names(output_dir),
        "output_dir must be empty; choose another, as a server does for each version",
        output_dir=output_dir,
    )
    run, generator = load(run_dir, sigma_scale, n_iterations, max_seconds)
    facts = {
        "run_dir": run_dir,
        "model": run.settings.family,
        "sample_rate": run.audio.sample_rate,
        "hop_length": run.audio.hop_length,
        "sigma_scale": sigma_scale,
        "inversion_iterations": n_iterations,
        "max_seconds": max_seconds,
    }
    with tempfile.TemporaryDirectory() as work:
        traced = generator.generate.get_concrete_function()
        tf.saved_model.save(generator, work, signatures={"serving_default": traced})
        storage.write_text(storage.join(work, _FACTS), fields.to_json(facts))
        # The program itself last: a server that watches the directory waits for it.
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
    """Return one sample of silence where there is no primer, none where there is one."""
    return tf.zeros([tf.cast(tf.shape(primer)[0] == 0, tf.int32)], tf.float32)
