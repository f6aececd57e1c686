"""Role of this process in a cluster, from TF_CONFIG; without TensorFlow.

Both TensorFlow's form and that of Vertex AI, which names the first process `chief`:

    {"cluster": {"chief": ["host:port"], "worker": ["host:port", ...]},
     "task": {"type": "worker", "index": 0}}
"""

import json
import os
from typing import Any, NamedTuple

from lstm_gen.platform import errors

_VARIABLE = "TF_CONFIG"
_TASKS = ("chief", "worker")  # in TensorFlow's order


class Member(NamedTuple):
    """One process of a cluster.

    Attributes:
      rank: From 0, the chief, which alone writes.
      size: Number of processes.
    """

    rank: int
    size: int


def member() -> Member:
    """Return this process; rank 0 of 1 where TF_CONFIG is not set.

    Raises:
      InputError: If TF_CONFIG is malformed, or has parameter servers or evaluators.
    """
    text = os.environ.get(_VARIABLE, "").strip()
    try:
        values: dict[str, Any] = json.loads(text or "{}")
        cluster, task = values.get("cluster") or {}, values.get("task") or {}
        counts = {name: len(_addresses(hosts)) for name, hosts in cluster.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise errors.InputError(
            f'{_VARIABLE} must be JSON such as {{"cluster": {{"worker": ["host:port", ...]}}, '
            '"task": {"type": "worker", "index": 0}}; unset it to train in this process alone. '
            f"Received: {_VARIABLE}={text!r} ({error})"
        ) from error
    if sum(counts.values()) <= 1:
        return Member(0, 1)
    errors.require(
        set(counts) <= set(_TASKS) and counts.get("chief", 1) == 1,
        f"{_VARIABLE} must have workers, and at most one chief; parameter servers and evaluators "
        "are not supported",
        **counts,
    )
    kind: str = task.get("type", "")
    index: Any = task.get("index")
    errors.require(
        isinstance(index, int) and 0 <= index < counts.get(kind, 0),
        f"the task in {_VARIABLE} must be one of its cluster",
        task=task,
        **counts,
    )
    before = _TASKS[: _TASKS.index(kind)]
    return Member(sum(counts.get(name, 0) for name in before) + index, sum(counts.values()))


def _addresses(hosts: Any) -> list[str]:
    """Return the addresses of some tasks.

    Raises:
      ValueError: If they are not a list of `host:port`.
    """
    if not isinstance(hosts, list):
        raise ValueError(f"{hosts!r} is not a list of addresses")
    for host in hosts:
        if not (isinstance(host, str) and host.rpartition(":")[2].isdigit()):
            raise ValueError(f"{host!r} is not host:port")
    return hosts
