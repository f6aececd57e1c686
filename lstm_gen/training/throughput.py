"""How many steps to leave to the device at once, and how fast they went."""

import tensorflow as tf

from lstm_gen.config.training import MonitorConfig
from lstm_gen.platform import devices
from lstm_gen.runs import run as runs

_CALL_SECONDS = 5.0  # at most, once the speed is known: a request to stop waits for no longer


class Pace:
    """The rhythm of a training.

    Args:
      run: The run.
      settings: What is looked at while training, and when.
      strategy: Where the model lives.
    """

    def __init__(
        self,
        run: runs.Run,
        settings: MonitorConfig,
        strategy: tf.distribute.Strategy,
    ) -> None:
        self._run, self._settings, self._strategy = run, settings, strategy
        self._seconds_per_step = _CALL_SECONDS  # until it is known

    def steps_from(self, step: int) -> int:
        """Return how many steps to run before something else is due."""
        settings = self._settings
        intervals = (
            settings.validate_every_steps,
            settings.checkpoint_every_steps,
            settings.sample_every_steps,
            settings.histogram_every_steps,
        )
        until = [interval - step % interval for interval in intervals if interval]
        soon = max(1, int(_CALL_SECONDS / self._seconds_per_step))
        return min([settings.steps_per_call, self._run.training.steps - step, soon, *until])

    def note(self, n_steps: int, seconds: float) -> dict[str, float]:
        """Take note of a call; return its speed by the names that it is logged under."""
        # One process's clock must not give it another number of steps than the others have.
        self._seconds_per_step = devices.average(self._strategy, seconds / n_steps)
        frames = n_steps * self._run.training.batch_size * self._run.window.timesteps
        return {
            "speed/steps_per_second": n_steps / seconds,
            "speed/frames_per_second": frames / seconds,
        }
