"""The file by which Vertex AI's hyper-parameter tuning learns how a trial does.

Source: the file that cloudml-hypertune writes: a JSON object a line, the newest last.
"""

import json
import os
import time
from collections import deque

from lstm_gen.platform import storage

_FILE_VARIABLE = "CLOUD_ML_HP_METRIC_FILE"
_TAG_VARIABLE = "CLOUD_ML_HP_METRIC_TAG"
_TRIAL_VARIABLE = "CLOUD_ML_TRIAL_ID"
_KEPT_LINES = 100


class Report:
    """Says the metric of a trial wherever the environment asks for it, and else nothing."""

    def __init__(self) -> None:
        self._path = os.environ.get(_FILE_VARIABLE, "")
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)

    def add(self, step: int, name: str, value: float) -> None:
        """Add a validation's metric.

        Args:
          step: Optimizer steps done.
          name: The study's metric, if the environment does not name that.
          value: The metric.
        """
        if not self._path:
            return
        line = {
            "timestamp": time.time(),
            "trial": os.environ.get(_TRIAL_VARIABLE, "0"),
            os.environ.get(_TAG_VARIABLE, name): str(value),
            "global_step": str(step),
            "checkpoint_path": "",
        }
        self._lines.append(json.dumps(line))
        storage.write_text(self._path, "\n".join(self._lines) + "\n")
