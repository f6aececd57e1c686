"""Linear baselines: predictors of the next frame, their likelihood, and samples of the best one.

They are the mean frame, the last frame, and a linear prediction from three frames with a full
covariance, which a network with a diagonal Gaussian head does not beat. Likelihoods are in nats per
frame and dimension.

A score compares with a model's validation: both are the mean, over scored frames and channels, of
-log density of the normalised frame. Here a frame is scored if the `LAGS` frames of the longest
predictor precede it in its segment, the same frames for all predictors (`count_scored`). Training
scores every predicted frame of the validation windows, so also a window's second and third frame,
of which less context is known; the difference is against the model, and small. Both keep every
deviation at or above `sigma_floor`: a band at the log floor is constant, and its density would have
no bound. Scores with different floors, channels, hops or normalisations do not compare.

All four are linear, so the mean outer product of (frame, its predecessors, 1) over each split
determines them: a pass over the segments, memory of one segment.
"""

import dataclasses
import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from lstm_gen.platform import errors

LAGS = 3
"""Previous frames that the longest predictor reads."""

_RIDGE = 1e-4  # added to each regressor's mean square, which is about 1 in normalised frames
_JITTER = 1e-9  # lets a Cholesky factor exist where a band is constant; far under the floor


class _Moments(NamedTuple):
    """Mean outer product of the rows [x_t, x_(t-shift), ..., x_(t-shift-LAGS+1), 1]."""

    product: np.ndarray
    channels: int


def fit_and_score(
    train: Iterable[np.ndarray],
    held_out: Iterable[np.ndarray],
    sigma_floor: float = 0.05,
    shift: int = 1,
) -> dict[str, float]:
    """Fit four predictors on training segments and score them on held-out segments.

    Args:
      train: Segments, each float [frames, channels], normalised; read once.
      held_out: The same of the split to score.
      sigma_floor: Least standard deviation of a band (with a full covariance: of a band given
        the bands below it), as in the models' heads.
      shift: Frames from the last known frame to the predicted one.

    Returns:
      "static Gaussian" (training mean, a variance per band), "copy last frame" (a variance
      per band of the change), "copy last frame, full covariance", "VAR(3), full covariance"
      (ridge regression on three frames and a constant), each in nats per frame and dimension.

    Raises:
      InputError: If `shift` is 0, a split has no segment long enough, or the channels differ.
    """
    errors.require(shift >= 1, "shift must be at least 1 to predict anything", shift=shift)
    fitted = _accumulate(train, shift, "training")
    scored = _accumulate(held_out, shift, "held-out")
    errors.require(
        fitted.channels == scored.channels,
        "training and held-out segments must have the same channels",
        train=fitted.channels,
        held_out=scored.channels,
    )
    static, copy, linear = _static(fitted), _copy(fitted), _linear(fitted)
    residuals = {
        "static Gaussian": static,
        "copy last frame": copy,
        "copy last frame, full covariance": _decorrelate(copy, fitted),
        "VAR(3), full covariance": _decorrelate(linear, fitted),
    }
    return {name: _score(value, fitted, scored, sigma_floor) for name, value in residuals.items()}


@dataclasses.dataclass(frozen=True)
class VAR:
    """Linear prediction of a frame from the `LAGS` before it, with Gaussian innovations.

    The VAR(3) of `fit_and_score`, to be sampled from.

    Attributes:
      weights: From the frames before, the last one first, and 1, to the mean of the next frame,
        float64 [LAGS * channels + 1, channels].
      factor: Triangular factor of the covariance of innovations, float64 [channels, channels].
    """

    weights: np.ndarray
    factor: np.ndarray

    def sample(self, history: np.ndarray, n_frames: int, random: np.random.Generator) -> np.ndarray:
        """Continue histories with sampled frames.

        Args:
          history: float [..., frames, channels], normalised, of `LAGS` frames or more.
          n_frames: Frames to sample.
          random: Generator of the innovations.

        Returns:
          float64 [..., n_frames, channels].

        Raises:
          InputError: If the history is too short or has other channels.
        """
        channels = len(self.factor)
        errors.require(
            history.ndim >= 2 and history.shape[-2] >= LAGS and history.shape[-1] == channels,
            f"history must be [..., frames, {channels}] with {LAGS} frames or more",
            shape=history.shape,
        )
        frames = [history[..., -lag, :].astype(np.float64) for lag in range(LAGS, 0, -1)]
        ones = np.ones((*history.shape[:-2], 1))
        for _ in range(n_frames):
            known = np.concatenate([*frames[: -LAGS - 1 : -1], ones], axis=-1)
            innovation = random.standard_normal(frames[0].shape) @ self.factor.T
            frames.append(known @ self.weights + innovation)
        return np.stack(frames[LAGS:], axis=-2)


def fit_var(train: Iterable[np.ndarray], sigma_floor: float = 0.05) -> VAR:
    """Fit the VAR(3) of `fit_and_score`, of the next frame, to training segments.

    Args:
      train: Segments, each float [frames, channels], normalised; read once.
      sigma_floor: Least standard deviation of a band given the bands below it.

    Raises:
      InputError: If no segment is long enough, or their channels differ.
    """
    fitted = _accumulate(train, 1, "training")
    residual = _linear(fitted)
    factor = _factor(residual, fitted)
    deviations = np.diag(factor)
    return VAR(
        weights=-residual[fitted.channels :],
        factor=factor / deviations * np.maximum(deviations, sigma_floor),
    )


def count_scored(n_frames: int, shift: int = 1) -> int:
    """Return the number of scored frames in a segment of `n_frames`."""
    return max(0, n_frames - shift - LAGS + 1)


def _accumulate(segments: Iterable[np.ndarray], shift: int, split: str) -> _Moments:
    """Return the moments of the scored frames of all segments."""
    total: np.ndarray | None = None
    n_scored, channels = 0, 0
    for segment in segments:
        count = count_scored(len(segment), shift)
        if count == 0:
            continue
        channels = channels or segment.shape[1]
        errors.require(
            segment.shape[1] == channels,
            f"every {split} segment must have the same channels",
            channels=channels,
            shape=segment.shape,
        )
        rows = _rows(segment.astype(np.float64), count)
        product = rows.T @ rows
        total = product if total is None else total + product
        n_scored += count
    if total is None:
        raise errors.InputError(
            f"the {split} split must have a segment of {LAGS + shift} frames or more; use longer "
            "recordings. Received: none"
        )
    return _Moments(total / n_scored, channels)


def _rows(segment: np.ndarray, count: int) -> np.ndarray:
    """Return [count, (1 + LAGS) * channels + 1]: each scored frame, its predecessors, 1."""
    previous = [segment[LAGS - 1 - lag :][:count] for lag in range(LAGS)]
    return np.concatenate([segment[-count:], *previous, np.ones((count, 1))], axis=1)


# A predictor is the matrix that takes such a row to its residual, x_t - prediction.


def _static(fitted: _Moments) -> np.ndarray:
    """Residual of the training mean."""
    residual = _copy(fitted)
    residual[fitted.channels :] = 0
    residual[-1] = -fitted.product[-1, : fitted.channels]
    return residual


def _copy(fitted: _Moments) -> np.ndarray:
    """Residual of the last known frame."""
    channels = fitted.channels
    residual = np.zeros((len(fitted.product), channels))
    residual[:channels] = np.eye(channels)
    residual[channels : 2 * channels] = -np.eye(channels)
    return residual


def _linear(fitted: _Moments) -> np.ndarray:
    """Residual of the ridge regression on all known frames and a constant."""
    channels = fitted.channels
    regressors = fitted.product[channels:, channels:]
    penalty = _RIDGE * np.eye(len(regressors))
    penalty[-1, -1] = _JITTER
    weights = np.linalg.solve(regressors + penalty, fitted.product[channels:, :channels])
    return np.concatenate([np.eye(channels), -weights])


def _decorrelate(residual: np.ndarray, fitted: _Moments) -> np.ndarray:
    """Predict each band's residual from those of the bands below it, too.

    The transform is triangular with ones on its diagonal, so densities keep their scale and
    one variance per band afterwards is a full covariance. It is the triangular matrix of the
    mixture head in closed form: the floor acts on the same quantity there and here.
    """
    factor = _factor(residual, fitted)
    return np.linalg.solve(factor / np.diag(factor), residual.T).T


def _factor(residual: np.ndarray, fitted: _Moments) -> np.ndarray:
    """Return the lower triangular factor of the residuals' covariance, [channels, channels]."""
    covariance = residual.T @ fitted.product @ residual
    return np.linalg.cholesky(covariance + _JITTER * np.eye(len(covariance)))


def _score(residual: np.ndarray, fitted: _Moments, scored: _Moments, sigma_floor: float) -> float:
    """Return the mean negative log density of residuals with independent Gaussian bands."""
    variance = np.maximum(_mean_square(residual, fitted), sigma_floor**2)
    squares = _mean_square(residual, scored) / variance
    return float(0.5 * (math.log(2 * math.pi) + np.mean(np.log(variance) + squares)))


def _mean_square(residual: np.ndarray, moments: _Moments) -> np.ndarray:
    """Return the mean square of each band's residual, [channels]."""
    return np.sum(residual * (moments.product @ residual), axis=0)
