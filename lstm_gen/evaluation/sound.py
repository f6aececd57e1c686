"""Sound of songs beside real music: strikes, pulse, pitch, repetition, loudness and timbre.

Metrics of the frames that a model makes cannot see what those frames do not hold, and say little of
rhythm and pitch. These are of waveforms, whatever representation they come from, and so compare
songs with recordings too. No range is fixed: music differs. A figure passes in the range of real
clips, and where training music is out of that range itself, held-out music is no measure of it.

A signal is float [samples], full scale 1. Clips that are compared have one length: longer ones
repeat themselves more. One Fourier transform of a clip serves all figures.
"""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import librosa
import numpy as np
import scipy.ndimage

from lstm_gen.dataset.format import manifest
from lstm_gen.evaluation import inputs, table
from lstm_gen.runs import run as runs

_FFT_SECONDS = 0.093
_HOPS = 4  # of a transform
_MELS = 64
_MFCC = 14  # the first is level and is left out
_FLOOR = 1e-10  # power of a frame, or of a band, added: -100 dB
_BEAT_SECONDS = (0.2, 2.0)  # 300 to 30 beats a minute
_MEDIAN_SHAPE = (17, 9)  # bins by every other frame: 190 Hz and 0.4 s
_HIGHEST_HZ = 5500.0  # of harmonic and percussive energy, and of chroma
_LOWEST_HZ = 50.0  # of a peak that has a pitch
_RISE_FRAMES = 3
_LEAST_RISE_DB = 0.3  # of the mean over bands, of an onset, over its surroundings
_PATCH_SECONDS = 1.0
_CHROMA_FRAMES = 4  # summed, 93 ms: a note's own beating does not repeat
_PERCENTILES = (5, 95)
_LEAST_SECONDS = 1.0  # of a clip
_GROUP = 4  # clips that count as independent: sixteen of a few recordings are not sixteen
_DRAWS = 2000
_SLACK = 0.05
_COVERED = (0.5, 99.5)  # percentiles of the means of groups of real clips

Signals = Sequence[np.ndarray]

_NOTE = (
    "Sound, through frames and back, in parts of one length. Accepted is the range of real music: "
    "99 % of the means of four real clips. Of real clips, timbre is that of the second half beside "
    "the first."
)


class Spectra(NamedTuple):
    """What the figures of a clip are computed from, by frame.

    Attributes:
      magnitude: [bins, frames] up to 5.5 kHz.
      mel_db: Power of mel bands, dB, [mels, frames].
      level_db: Power, dB, [frames].
      rate: Samples per second.
      n_fft: Samples of a transform.
    """

    magnitude: np.ndarray
    mel_db: np.ndarray
    level_db: np.ndarray
    rate: float
    n_fft: int

    @property
    def hop(self) -> int:
        """Samples from a frame to the next."""
        return self.n_fft // _HOPS

    @property
    def frames_per_second(self) -> float:
        """Frame rate, Hz."""
        return self.rate / self.hop


class Figures(NamedTuple):
    """Figures of a clip; NaN where it has none, as silence has no pitch.

    Attributes:
      onsets: Onsets a second.
      rise_db: Median rise of level at onsets, dB.
      pulse: Largest autocorrelation of onset strength over beats of 0.2 to 2 s, at most 1.
      harmonic_db: Energy of what sustains over energy of what strikes, dB.
      pitch_entropy: Entropy of the pitch classes of a frame, bits, mean by loudness: 0 for an
        octave, 3.58 for noise.
      chroma_repetition: Correlation of a second's chroma with the most similar earlier second's.
      quiet: Fraction of frames under the 5th percentile of real loudness.
      loud: Fraction of frames over its 95th percentile.
      timbre: Distance of mean cepstra, song to primer; of real clips, its rest to its beginning.
    """

    onsets: float
    rise_db: float
    pulse: float
    harmonic_db: float
    pitch_entropy: float
    chroma_repetition: float
    quiet: float
    loud: float
    timbre: float


WORDS: Mapping[str, str] = {
    "onsets": "onsets a second",
    "rise_db": "rise of level at onsets, dB",
    "pulse": "pulse clarity (autocorrelation of onset strength)",
    "harmonic_db": "harmonic over percussive energy, dB",
    "pitch_entropy": "entropy of a frame's pitch classes, bits",
    "chroma_repetition": "repetition of chroma",
    "quiet": "frames under the 5th percentile of real loudness",
    "loud": "frames over the 95th percentile of real loudness",
    "timbre": "timbre, distance from the primer",
}
"""Each figure in words."""


class Group(NamedTuple):
    """Clips that are described together.

    Attributes:
      clips: Signals.
      beginnings: What each clip continues; empty for figures without timbre.
    """

    clips: Signals
    beginnings: Signals = ()


def compare_clips(
    given: inputs.Inputs,
    dataset: manifest.Dataset,
    clips: Mapping[str, np.ndarray],
    owners: Mapping[str, runs.Run],
) -> list[table.Table]:
    """Return the table of the sound of clips, or none if they are too short for one.

    Args:
      given: The inputs of the evaluation.
      dataset: Of the clips.
      clips: Held-out music, training music, then songs, each group normalised frames
        [n, frames, channels].
      owners: The run of each group of songs; its primers, where it takes any, are what they
        continue.
    """
    groups = {}
    primed = {title for title, run in owners.items() if "primer" in run.family.controls}
    for title, frames in clips.items():
        sounds = given.sounds(dataset, frames)
        if title in primed:
            groups[title] = Group(sounds, given.sounds(dataset, given.primers(owners[title])))
        elif title in owners or not primed:
            groups[title] = Group(sounds)
        else:
            half = len(sounds[0]) // 2
            groups[title] = Group([one[half:] for one in sounds], [one[:half] for one in sounds])
    found = compare(groups, dataset.audio.sample_rate)
    return [found] if found.rows else []


def compare(groups: Mapping[str, Group], rate: float) -> table.Table:
    """Return the table of figures, with the range of real clips; empty for clips under a second.

    Args:
      groups: Held-out music, training music, then songs, by their headings.
      rate: Samples per second of all.
    """
    length = min(len(clip) for group in groups.values() for clip in group.clips)
    if length < _LEAST_SECONDS * rate:
        return table.Table(columns=(), rows=())
    spectra = {
        name: [[analyse(part, rate) for part in parts([clip], length)] for clip in group.clips]
        for name, group in groups.items()
    }
    real = [one.level_db for name in list(groups)[:2] for some in spectra[name] for one in some]
    low, high = np.percentile(np.concatenate(real), _PERCENTILES)
    described = {}
    for name, group in groups.items():
        distances = timbres(spectra[name], group.beginnings, rate)
        described[name] = [
            describe(one, float(low), float(high), distance)
            for one, distance in zip(itertools.chain(*spectra[name]), distances, strict=True)
        ]
    return tabulate(described)


def tabulate(described: Mapping[str, Sequence[Figures]]) -> table.Table:
    """Return the table of described clips; the first two groups are real, and give the ranges.

    A figure that real clips do not have is left out, one in whose range training music is not is
    marked as unusable.
    """
    held_out, training = list(described)[:2]
    means = {name: mean(figures) for name, figures in described.items()}
    criteria, unusable = [], set()
    for index, (name, words) in enumerate(WORDS.items()):
        splits = [[one[index] for one in described[split]] for split in (held_out, training)]
        criterion = table.Criterion(name, *real_range(*splits), words)
        if criterion.low > criterion.high:
            continue
        if name == "timbre":  # nothing is too like its beginning
            criterion = criterion._replace(low=0.0)
        criteria.append(criterion)
        if not criterion.passes(getattr(means[training], name)):
            unusable.add(name)
    return dataclasses.replace(table.acceptance(criteria, means, unusable), notes=[_NOTE])


def real_range(held_out: Sequence[float], training: Sequence[float]) -> tuple[float, float]:
    """Return the range of a figure over real music: of the means of groups of four real clips.

    Groups are drawn with replacement, always the same, two clips of each split; the range holds
    99 % of them, and what differs by 5 % from that. Where splits differ by more than their clips
    do, neither is in it. It is (inf, -inf), which nothing passes, without a figure.
    """
    splits = [np.array([v for v in split if not math.isnan(v)]) for split in (held_out, training)]
    splits = [split for split in splits if split.size]
    if not splits:
        return math.inf, -math.inf
    random = np.random.default_rng(0)
    shape = (_DRAWS, _GROUP // len(splits))
    groups = np.concatenate([random.choice(split, size=shape) for split in splits], axis=1)
    low, high = np.percentile(groups.mean(axis=1), _COVERED)
    return float(low - _SLACK * abs(low)), float(high + _SLACK * abs(high))


def parts(clips: Signals, length: int) -> list[np.ndarray]:
    """Return consecutive parts of `length` samples of each clip; a rest is left out."""
    return [
        clip[start : start + length]
        for clip in clips
        for start in range(0, len(clip) - length + 1, length)
    ]


def analyse(samples: np.ndarray, rate: float) -> Spectra:
    """Return the spectra of a clip."""
    n_fft = 2 ** round(math.log2(_FFT_SECONDS * rate))
    spectrum = librosa.stft(np.asarray(samples, np.float32), n_fft=n_fft, hop_length=n_fft // _HOPS)
    magnitude = np.abs(spectrum) / (n_fft / 4)  # a sine of amplitude 1 has magnitude 1
    power = magnitude**2
    mel = librosa.feature.melspectrogram(
        S=power, sr=rate, n_fft=n_fft, n_mels=_MELS, fmax=min(rate / 2, 11025)
    )
    n_bins = min(len(magnitude), math.ceil(_HIGHEST_HZ * n_fft / rate))
    return Spectra(
        magnitude=magnitude[:n_bins],
        mel_db=10 * np.log10(mel + _FLOOR),
        level_db=10 * np.log10(power.sum(axis=0) + _FLOOR),
        rate=rate,
        n_fft=n_fft,
    )


def describe(spectra: Spectra, low_db: float, high_db: float, timbre: float = math.nan) -> Figures:
    """Return the figures of a clip.

    Args:
      spectra: Of the clip.
      low_db: 5th percentile of the level of real frames.
      high_db: 95th percentile.
      timbre: Distance to what the clip continues.
    """
    strength = librosa.onset.onset_strength(S=spectra.mel_db, sr=spectra.rate)
    onsets = find_onsets(spectra, strength)
    seconds = len(spectra.level_db) / spectra.frames_per_second
    sounding = pitch_classes(spectra)
    return Figures(
        onsets=len(onsets) / seconds,
        rise_db=rise_db(spectra.level_db, onsets),
        pulse=pulse_clarity(strength, spectra.frames_per_second),
        harmonic_db=harmonic_db(spectra.magnitude),
        pitch_entropy=pitch_entropy(sounding),
        chroma_repetition=chroma_repetition(sounding, spectra.frames_per_second),
        quiet=float(np.mean(spectra.level_db < low_db)),
        loud=float(np.mean(spectra.level_db > high_db)),
        timbre=timbre,
    )


def find_onsets(spectra: Spectra, strength: np.ndarray) -> np.ndarray:
    """Return the frames of onsets, peaks of the onset strength [frames].

    Normalised strength, as librosa has by default, finds peaks in any sound, a drone's noise too;
    this is of absolute height, in dB.
    """
    frames = spectra.frames_per_second
    return np.asarray(
        librosa.util.peak_pick(
            strength,
            pre_max=round(0.03 * frames),
            post_max=1,
            pre_avg=round(0.10 * frames),
            post_avg=round(0.10 * frames) + 1,
            delta=_LEAST_RISE_DB,
            wait=round(0.03 * frames),
        )
    )


def rise_db(level_db: np.ndarray, onsets: np.ndarray) -> float:
    """Return the median rise of a level [frames] around onsets, dB; NaN without onsets."""
    rises = [
        level_db[onset : onset + _RISE_FRAMES + 1].max()
        - level_db[max(0, onset - _RISE_FRAMES) : onset + 1].min()
        for onset in onsets
    ]
    return float(np.median(rises)) if rises else math.nan


def pulse_clarity(strength: np.ndarray, frames_per_second: float) -> float:
    """Return the largest autocorrelation of the onset strength over lags of a beat, at most 1.

    The correlation at each lag is of the overlap alone, so that a long beat counts as much as a
    short one; 0 for a constant strength.

    Source: Lartillot et al. 2008, the maximum of the autocorrelation.
    """
    shortest, longest = (round(seconds * frames_per_second) for seconds in _BEAT_SECONDS)
    found = [0.0]
    for lag in range(shortest, min(longest, len(strength) // 2) + 1):
        early, late = strength[:-lag], strength[lag:]
        early, late = early - early.mean(), late - late.mean()
        scale = math.sqrt(float(early @ early) * float(late @ late))
        found.append(float(early @ late) / scale if scale > _FLOOR else 0.0)
    return max(found)


def harmonic_db(magnitude: np.ndarray) -> float:
    """Return the energy of what sustains over the energy of what strikes, dB.

    Args:
      magnitude: [bins, frames].

    Source: Fitzgerald 2010, medians along time and along frequency, with Wiener masks.
    """
    magnitude = magnitude[:, ::2]  # medians are what takes time, and a frame's overlap is 3/4
    n_bins, n_frames = _MEDIAN_SHAPE
    sustained = scipy.ndimage.median_filter(magnitude, size=(1, n_frames)) ** 2
    struck = scipy.ndimage.median_filter(magnitude, size=(n_bins, 1)) ** 2
    mask = sustained / np.maximum(sustained + struck, _FLOOR**2)
    power = magnitude**2
    harmonic, rest = float((mask * power).sum()), float(((1 - mask) * power).sum())
    return 10 * math.log10((harmonic + _FLOOR) / (rest + _FLOOR))


def pitch_classes(spectra: Spectra) -> np.ndarray:
    """Return the energy of the pitch classes in peaks of the spectrum, [12, frames].

    Peaks alone, and their interpolated frequencies: in the low register a bin is wider than a
    semitone. Classes are in the tuning of the clip, the mean deviation from equal temperament.
    """
    magnitude = np.maximum(spectra.magnitude, _FLOOR)
    before, here, after = magnitude[:-2], magnitude[1:-1], magnitude[2:]
    bins, frames = np.nonzero((here > before) & (here >= after) & (here > math.sqrt(_FLOOR)))
    left, centre, right = (np.log(part[bins, frames]) for part in (before, here, after))
    offset = (left - right) / (2 * (left - 2 * centre + right))
    hz = (bins + 1 + offset) * (spectra.rate / spectra.n_fft)
    energy = np.where(hz >= _LOWEST_HZ, here[bins, frames] ** 2, 0)
    notes = 12 * np.log2(hz / 440) + 69
    tuning = np.angle(np.sum(energy * np.exp(2j * np.pi * notes))) / (2 * np.pi)
    classes = np.rint(notes - tuning).astype(int) % 12
    n_frames = magnitude.shape[1]
    found = np.bincount(classes * n_frames + frames, energy, minlength=12 * n_frames)
    return found.reshape(12, n_frames)


def pitch_entropy(classes: np.ndarray) -> float:
    """Return the mean entropy of the pitch classes [12, frames] of a frame, bits; NaN for silence.

    A frame's weight is the root of its energy.
    """
    energy = classes.sum(axis=0)
    if energy.max() < _FLOOR:
        return math.nan
    shares = classes / np.maximum(energy, _FLOOR)
    entropy = -(shares * np.log2(np.maximum(shares, _FLOOR))).sum(axis=0)
    return float(np.average(entropy, weights=np.sqrt(energy)))


def chroma_repetition(classes: np.ndarray, frames_per_second: float) -> float:
    """Return the correlation of a second's chroma with the most similar earlier second's, mean.

    Roots of energies, less their mean over the clip, so that a sustained chord does not count; NaN
    for clips under 2 s or of one chroma.
    """
    size = _CHROMA_FRAMES
    patch = round(_PATCH_SECONDS * frames_per_second / size)
    whole = classes[:, : classes.shape[1] // size * size]
    chroma = np.sqrt(whole.reshape(12, -1, size).sum(axis=2))
    chroma = chroma - chroma.mean(axis=1, keepdims=True)
    if chroma.shape[1] < 2 * patch + 1:
        return math.nan
    windows = np.lib.stride_tricks.sliding_window_view(chroma, patch, axis=1)
    flat = windows.transpose(1, 0, 2).reshape(windows.shape[1], -1)
    norms = np.linalg.norm(flat, axis=1, keepdims=True)
    if norms.max() < math.sqrt(_FLOOR):
        return math.nan
    flat = flat / np.maximum(norms, math.sqrt(_FLOOR))
    starts = range(patch, len(flat), max(1, patch // 4))
    return float(np.mean([np.max(flat[: start - patch + 1] @ flat[start]) for start in starts]))


def timbres(clips: Sequence[Sequence[Spectra]], beginnings: Signals, rate: float) -> list[float]:
    """Return the distance of each part of each clip to what the clip continues.

    Args:
      clips: The parts of each clip.
      beginnings: What each clip continues; empty for distances that are NaN.
      rate: Samples per second.
    """
    if not beginnings:
        return [math.nan for some in clips for _ in some]
    origins = [cepstrum(analyse(beginning, rate)) for beginning in beginnings]
    return [
        float(np.linalg.norm(cepstrum(part) - origin))
        for some, origin in zip(clips, origins, strict=True)
        for part in some
    ]


def cepstrum(spectra: Spectra) -> np.ndarray:
    """Return the mean mel-frequency cepstrum of a clip without its level, dB, [13].

    Frames 40 dB under the loudest and more do not count: a rest has no timbre.
    """
    heard = spectra.mel_db[:, spectra.level_db > spectra.level_db.max() - 40]
    heard = np.maximum(
        heard, heard.max() - 60
    )  # what is below is a recording's noise, or its codec's
    return np.asarray(
        librosa.feature.mfcc(S=heard, n_mfcc=_MFCC)[1:].mean(axis=1) / math.sqrt(_MELS)
    )


def mean(figures: Sequence[Figures]) -> Figures:
    """Return the mean of each figure over the clips that have it; NaN where none has."""
    columns = np.array(figures, np.float64).T
    known = [column[~np.isnan(column)] for column in columns]
    return Figures(*(float(one.mean()) if one.size else math.nan for one in known))
