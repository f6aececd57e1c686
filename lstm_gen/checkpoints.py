"""Directories of TensorFlow variables that are either complete or not there.

A state is a directory `step-00001200` with the variables' files and, written last, a
`commit.json` that names each file with its SHA-256. What has no valid commit does not
exist; the newest state that does is found by looking, never by trusting a pointer. Only
tensors are ever read: no pickles, no saved programs.
"""

import contextlib
import hashlib
import json
import re
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import tensorflow as tf
from absl import logging

from lstm_gen import config, errors, storage

_COMMIT = "commit.json"
_PREFIX = "state"
_NAME = re.compile(r"step-(\d{8})")

Variables = Mapping[str, Any]


class State(NamedTuple):
    """A committed state.

    Attributes:
      path: Its directory.
      step: Optimizer step that it was taken after.
      facts: The plain values stored beside the variables.
    """

    path: str
    step: int
    facts: dict[str, Any]


def variables_of(**owners: Any) -> Variables:
    """Return every variable of Keras models and optimizers under a name of its own.

    The names are the paths, less the owner's own name. How Keras objects hold one another must
    not matter: TensorFlow does not follow a model's list of layers, and says nothing.

    Args:
      **owners: Models and optimizers, all built.

    Raises:
      ValueError: If two variables of an owner have the same path.
    """
    named = [
        (f"{name}/{variable.path.split('/', 1)[-1]}", variable.value)
        for name, owner in owners.items()
        for variable in owner.variables
    ]
    variables = dict(named)
    if len(variables) < len(named):
        names = sorted(name for name, _ in named)
        raise ValueError(f"every variable needs a path of its own. Received: {', '.join(names)}")
    return variables


def write(parent: str, step: int, variables: Variables, facts: dict[str, Any]) -> State:
    """Write a state below `parent`; it exists once this returns, or not at all.

    Args:
      parent: Directory of states.
      step: Optimizer step.
      variables: What to write.
      facts: Plain JSON values to keep beside it.
    """
    final = storage.join(parent, f"step-{step:08d}")
    with contextlib.ExitStack() as stack:
        if storage.is_remote(parent):
            work = stack.enter_context(tempfile.TemporaryDirectory())
        else:
            work = f"{final}.tmp-{uuid.uuid4().hex[:8]}"
            storage.make_directory(work)
        tf.train.Checkpoint(variables=dict(variables)).write(storage.join(work, _PREFIX))
        hashes = {name: _sha256(storage.join(work, name)) for name in _files(work)}
        storage.sync(work)
        commit = config.to_json({"step": step, "files": hashes, "facts": facts})
        storage.write_text(storage.join(work, _COMMIT), commit)
        if storage.is_remote(parent):
            # A bucket cannot rename a directory, but there the commit alone makes a state exist.
            for name in (*hashes, _COMMIT):
                storage.publish(storage.join(work, name), storage.join(final, name))
        else:
            storage.remove_tree(final)
            storage.commit(work, final)
    return State(final, step, facts)


def newest(parent: str) -> State | None:
    """Return the newest state below `parent` that is whole, or None if there is no state.

    A damaged state is passed over with a warning.

    Raises:
      InputError: If there are states and none of them is whole.
    """
    names = [name for name in storage.list_names(parent) if _NAME.fullmatch(name)]
    for name in sorted(names, reverse=True):
        state = _verified(storage.join(parent, name))
        if state is not None:
            return state
        logging.warning("%s is damaged or incomplete; looking for an older one", name)
    if names:
        raise errors.InputError(
            f"none of the states in {parent} is whole; restore one from a backup or choose another "
            f"run directory. Received: {', '.join(names)}"
        )
    return None


def read(state: State, variables: Variables) -> None:
    """Fill the variables from a state.

    Raises:
      InputError: If the state does not hold just these variables.
    """
    try:
        with _local_files(state) as folder:
            checkpoint = tf.train.Checkpoint(variables=dict(variables))
            checkpoint.read(storage.join(folder, _PREFIX)).assert_consumed()
    except (AssertionError, ValueError, tf.errors.OpError) as error:
        raise errors.InputError(
            f"the variables in {state.path} are not this model's; was it written by another "
            f"version? Received: {' '.join(str(error).split())[:200]}"
        ) from error


def keep_newest(parent: str, count: int, last: State) -> None:
    """Delete all but `last` and the states before it, `count` in all, and killed writers' litter.

    A state of a later step than `last`, the one just written, is damaged or of a life of the
    run that this one has replaced; counted, it could push out what is good.
    """
    names = storage.list_names(parent)
    states = sorted(name for name in names if _NAME.fullmatch(name))
    kept = [name for name in states if name <= storage.name(last.path)][-count:]
    litter = [name for name in names if ".tmp-" in name and _NAME.match(name)]
    for name in sorted(set(states) - set(kept)) + litter:
        storage.remove_tree(storage.join(parent, name))


def _verified(path: str) -> State | None:
    """Return the state if its commit is there and every file is as it says."""
    commit_path = storage.join(path, _COMMIT)
    if not storage.exists(commit_path):
        return None
    try:
        commit = json.loads(storage.read_text(commit_path))
        whole = bool(commit["files"]) and all(
            "/" not in name
            and storage.exists(storage.join(path, name))
            and _sha256(storage.join(path, name)) == digest
            for name, digest in commit["files"].items()
        )
        return State(path, int(commit["step"]), dict(commit["facts"])) if whole else None
    except (KeyError, TypeError, AttributeError, ValueError):
        return None


@contextlib.contextmanager
def _local_files(state: State) -> Iterator[str]:
    """Yield a local directory with a state's files: its own, unless it is in a bucket."""
    if not storage.is_remote(state.path):
        yield state.path
        return
    with tempfile.TemporaryDirectory() as folder:
        storage.stage(state.path, _files(state.path), folder)
        yield folder


def _files(path: str) -> list[str]:
    return [name for name in storage.list_names(path) if name.startswith(f"{_PREFIX}.")]


def _sha256(path: str) -> str:
    return hashlib.sha256(storage.read_bytes(path)).hexdigest()
