"""Baselines of preparation, each run as a process.

`analyse` is the minimum of a preparation with librosa: it loads and analyses, and writes nothing.
`write_windows` writes the output of im-knots/ltsm-music-generation for one recording: overlapping
input and target windows as lists of floats in one TFRecord file, and a JPEG.
"""

import multiprocessing
import pathlib

_SAMPLE_RATE, _N_FFT, _HOP_LENGTH, _N_MELS = 22050, 2048, 512, 128
_TIMESTEPS, _SHIFT, _STRIDE = 5000, 100, 50


def analyse(folder: str, processes: int) -> None:
    """Load and analyse every recording of a folder, largest first."""
    paths = sorted(pathlib.Path(folder).iterdir(), key=lambda path: -path.stat().st_size)
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for _ in pool.imap_unordered(_analyse_one, map(str, paths)):
            pass


def _analyse_one(path: str) -> int:
    """Return the number of mel frames of a recording."""
    import librosa

    samples, _ = librosa.load(path, sr=_SAMPLE_RATE)
    mel = librosa.feature.melspectrogram(
        y=samples, sr=_SAMPLE_RATE, n_fft=_N_FFT, hop_length=_HOP_LENGTH, n_mels=_N_MELS
    )
    return int(mel.shape[1])


def write_windows(recording: str, output_dir: str) -> None:
    """Write a recording's overlapping windows as lists of floats, and its spectrogram."""
    import librosa
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import numpy as np
    import tensorflow as tf

    samples, _ = librosa.load(recording, sr=_SAMPLE_RATE)
    magnitude = np.abs(librosa.stft(samples, n_fft=_N_FFT, hop_length=_HOP_LENGTH))
    mel = librosa.feature.melspectrogram(S=magnitude, sr=_SAMPLE_RATE, n_mels=_N_MELS)
    mel_db = librosa.power_to_db(mel)
    plt.imshow(mel_db, origin="lower", aspect="auto")
    plt.savefig(pathlib.Path(output_dir, "spectrogram.jpg"))
    frames = mel_db.T
    with tf.io.TFRecordWriter(str(pathlib.Path(output_dir, "windows.tfrecord"))) as writer:
        for start in range(0, len(frames) - _TIMESTEPS - _SHIFT + 1, _STRIDE):
            window = frames[start : start + _TIMESTEPS]
            target = frames[start + _SHIFT : start + _SHIFT + _TIMESTEPS]
            features = {
                name: tf.train.Feature(float_list=tf.train.FloatList(value=values.flatten()))
                for name, values in (("input", window), ("target", target))
            }
            example = tf.train.Example(features=tf.train.Features(feature=features))
            writer.write(example.SerializeToString())
