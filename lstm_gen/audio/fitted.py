"""Arrays of an analysis that are fitted to the training split of a dataset, and their file.

The dataset keeps them beside `dataset.json`, which has their hash, and a run keeps a copy: frames
of `activations` cannot be made or inverted without their dictionary, and frames of `log_mel` are
inverted better with a map of the start spectrum. `AudioConfig.fitted` holds them.
"""

import contextlib
import dataclasses
import hashlib
import pathlib
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lstm_gen.audio import dictionary, start_spectrum
from lstm_gen.config.audio import AudioConfig, Fitted
from lstm_gen.platform import errors, safetensors, storage

FILE = "fitted.safetensors"


def specs(audio: AudioConfig) -> dict[str, safetensors.Spec]:
    """Return type and shape of the arrays that belong to an analysis, by name; perhaps none."""
    if audio.representation == "activations":
        shape = (audio.n_atoms, 1 + audio.n_fft // 2)
        return {dictionary.NAME: safetensors.Spec("float32", shape)}
    if audio.representation == "log_mel":
        return {start_spectrum.NAME: safetensors.Spec("float16", start_spectrum.shape(audio))}
    return {}


def fit(runs: Sequence[np.ndarray], audio: AudioConfig) -> dict[str, np.ndarray]:
    """Return the arrays that belong to an analysis.

    Args:
      runs: Power spectra, float32 [frames, 1 + n_fft // 2], each of consecutive training frames;
        at least one.
      audio: The analysis.
    """
    if audio.representation == "activations":
        magnitudes = np.sqrt(np.concatenate(runs))
        return {dictionary.NAME: dictionary.fit(magnitudes, audio.n_atoms)}
    return {start_spectrum.NAME: start_spectrum.fit(runs, audio)}


def attach(audio: AudioConfig, arrays: dict[str, np.ndarray]) -> AudioConfig:
    """Return an analysis with its arrays, which `specs` names."""
    content = _encode(audio, arrays)
    sha256 = hashlib.sha256(content).hexdigest()
    fitted = Fitted(n_bytes=len(content), sha256=sha256, arrays=arrays)
    return dataclasses.replace(audio, fitted=fitted)


def write(path: str, audio: AudioConfig) -> None:
    """Write the arrays of an analysis to a file, local or in a bucket, whole or not at all."""
    if audio.fitted:
        storage.write_bytes(path, _encode(audio, audio.fitted.arrays))


def read(path: str, audio: AudioConfig, remedy: str) -> AudioConfig:
    """Return an analysis with its arrays.

    Args:
      path: File of the arrays, local or in a bucket.
      audio: The analysis, in `fitted` the size and the hash that the file must have.
      remedy: What to do if it has not, for the error.

    Raises:
      InputError: If the file is missing, or is not the one listed.
    """
    arrays: dict[str, np.ndarray] = {}
    listed = audio.fitted or Fitted(n_bytes=0, sha256="")
    with contextlib.suppress(FileNotFoundError, safetensors.FormatError):
        if storage.is_plain_file(path, listed.n_bytes):
            with storage.local_copy(path) as local:
                content = pathlib.Path(local).read_bytes()
                if hashlib.sha256(content).hexdigest() == listed.sha256:
                    arrays = dict(safetensors.read(local, specs(audio)))
    errors.require(
        bool(arrays),
        f"{FILE} must be there as it was written, for frames and sound depend on it; {remedy}",
        path=path,
    )
    for array in arrays.values():
        array.setflags(write=False)
    return dataclasses.replace(audio, fitted=dataclasses.replace(listed, arrays=arrays))


def to_dict(audio: AudioConfig) -> dict[str, Any]:
    """Return the field `fitted` of a JSON file: name, size and hash of the arrays' file, if any."""
    if audio.fitted is None:
        return {}
    file = {"name": FILE, "bytes": audio.fitted.n_bytes, "sha256": audio.fitted.sha256}
    return {"fitted": file}


def from_dict(values: Mapping[str, Any]) -> Fitted | None:
    """Return what `to_dict` added to the values of a JSON file, without the arrays.

    Raises:
      KeyError: If something is missing.
      TypeError: If something is of another type.
    """
    if "fitted" not in values:
        return None
    return Fitted(n_bytes=values["fitted"]["bytes"], sha256=values["fitted"]["sha256"])


def _encode(audio: AudioConfig, arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return the content of the file."""
    with tempfile.TemporaryDirectory(prefix="lstm_gen-") as folder:
        local = pathlib.Path(folder, FILE)
        safetensors.write(str(local), specs(audio), (arrays[name] for name in sorted(arrays)))
        return local.read_bytes()
