"""Directories of TensorFlow variables that are either complete or not there.

A state is a directory `step-00001200` with the variables in one file (`tensors`) and, written
last, a `commit.json` that says what they are, with the file's SHA-256. What has no valid commit
does not exist; the newest state that does is found by looking, never by trusting a pointer.
Only arrays that the program expects are ever read: no pickles, no saved programs, no links.
"""

import contextlib
import hashlib
import json
import re
import tempfile
import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from absl import logging

from lstm_gen.config import fields
from lstm_gen.platform import errors, failpoints, storage
from lstm_gen.runs import safetensors

_COMMIT = "commit.json"
_ARRAYS = "state.safetensors"
_NAME = re.compile(r"step-(\d{8})")
_MAX_COMMIT_BYTES = 16 << 20

Variables = Mapping[str, Any]


class State(NamedTuple):
    """A committed state.

    Attributes:
      path: Its directory.
      step: Optimizer step that it was taken after.
      facts: The plain values stored beside the variables.
      specs: What the variables are.
      sha256: Of the file with their values.
    """

    path: str
    step: int
    facts: dict[str, Any]
    specs: safetensors.Specs
    sha256: str


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
        (f"{name}/{variable.path.split('/', 1)[-1]}", variable)
        for name, owner in owners.items()
        for variable in owner.variables
    ]
    variables = dict(named)
    if len(variables) < len(named):
        names = sorted(name for name, _ in named)
        raise ValueError(f"every variable needs a path of its own. Received: {', '.join(names)}")
    return variables


def specs_of(variables: Variables) -> safetensors.Specs:
    """Return what these variables are; they need have no values yet."""
    return {
        name: safetensors.Spec(np.dtype(_dtype_name(variable)).name, tuple(variable.shape))
        for name, variable in variables.items()
    }


def write(parent: str, step: int, variables: Variables, facts: dict[str, Any]) -> State:
    """Write a state below `parent`; it exists once this returns, or not at all.

    Args:
      parent: Directory of states.
      step: Optimizer step.
      variables: What to write.
      facts: Plain JSON values to keep beside it.
    """
    final = storage.join(parent, f"step-{step:08d}")
    specs = specs_of(variables)
    with contextlib.ExitStack() as stack:
        if storage.is_remote(parent):
            work = stack.enter_context(tempfile.TemporaryDirectory())
        else:
            work = f"{final}.tmp-{uuid.uuid4().hex[:8]}"
            storage.make_directory(work)
        arrays = storage.join(work, _ARRAYS)
        safetensors.write(arrays, specs, (variables[name].numpy() for name in sorted(variables)))
        failpoints.reach("state.written")
        state = State(final, step, facts, specs, storage.sha256(arrays))
        storage.write_text(storage.join(work, _COMMIT), fields.to_json(_commit_values(state)))
        if storage.is_remote(parent):
            # A bucket cannot rename a directory, but there the commit alone makes a state exist.
            storage.remove(storage.join(final, _COMMIT))
            for name in (_ARRAYS, _COMMIT):
                storage.publish(storage.join(work, name), storage.join(final, name))
        else:
            storage.remove_tree(final)
            failpoints.reach("state.replaced")
            storage.commit(work, final)
    failpoints.reach("state.committed")
    return state


def newest(parent: str, specs: safetensors.Specs | None = None) -> State | None:
    """Return the newest state below `parent` that is whole, or None if there is no state.

    A damaged state is passed over with a warning.

    Args:
      parent: Directory of states.
      specs: What must be in them, if that is known: then no more than that is ever read.

    Raises:
      InputError: If there are states and none of them is whole, one holds other variables, or
        `parent` is a link.
    """
    errors.require(
        not storage.is_link(parent), "the states of a run must lie within it", link=parent
    )
    names = _names(parent)
    for name in sorted(names, reverse=True):
        state = _read_commit(storage.join(parent, name))
        if state is not None and specs is not None:
            _require_same(state, specs)
        if state is not None and _is_whole(state):
            return state
        logging.warning("%s is damaged or incomplete; looking for an older one", name)
    if names:
        raise errors.InputError(
            f"none of the states in {parent} is whole; restore one from a backup, or begin again "
            f"with train_model.py --fresh. Received: {', '.join(names)}"
        )
    return None


def read(state: State, variables: Variables) -> None:
    """Fill the variables from a state.

    Raises:
      InputError: If the state does not hold just these variables, naming one, or a value is no
        number.
    """
    _require_same(state, specs_of(variables))
    with storage.local_copy(storage.join(state.path, _ARRAYS)) as path:
        try:
            for name, values in safetensors.read(path, state.specs):
                finite = bool(np.isfinite(values).all())
                errors.require(finite, f"the weights in {state.path} must be numbers", name=name)
                variables[name].assign(values)
        except safetensors.FormatError as error:
            raise errors.InputError(
                f"{state.path} must hold what its {_COMMIT} says; restore it. Received: {error}"
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
        failpoints.reach("state.removed")


def _names(parent: str) -> list[str]:
    """Return the names of what may be states; in a bucket what has no commit was never one."""
    names = [name for name in storage.list_names(parent) if _NAME.fullmatch(name)]
    if not storage.is_remote(parent):
        return names
    return [name for name in names if storage.exists(storage.join(parent, name, _COMMIT))]


def _read_commit(path: str) -> State | None:
    """Return the state that a commit promises, or None if it is not as it was written."""
    where = storage.join(path, _COMMIT)
    if storage.is_link(path) or not storage.is_plain_file(where, _MAX_COMMIT_BYTES):
        return None
    try:
        values = json.loads(storage.read_text(where))
        state = State(
            path,
            int(values["step"]),
            dict(values["facts"]),
            safetensors.from_json(values["variables"]),
            str(values["sha256"]),
        )
        intact = values == _commit_values(state)
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError):
        return None
    return state if intact and storage.name(path) == f"step-{state.step:08d}" else None


def _commit_values(state: State) -> dict[str, Any]:
    values: dict[str, Any] = {
        "step": state.step,
        "variables": safetensors.to_json(state.specs),
        "sha256": state.sha256,
        "facts": state.facts,
    }
    text = json.dumps(values, sort_keys=True)
    return values | {"checksum": hashlib.sha256(text.encode()).hexdigest()}


def _is_whole(state: State) -> bool:
    """Whether the values are as the commit says; the size first, which costs nothing."""
    path = storage.join(state.path, _ARRAYS)
    n_bytes = safetensors.size(state.specs)
    return (
        storage.is_plain_file(path, n_bytes)
        and storage.size_bytes(path) == n_bytes
        and storage.sha256(path) == state.sha256
    )


def _require_same(state: State, specs: safetensors.Specs) -> None:
    """Raise unless a state holds these variables, naming the first that differs."""
    for name in sorted({*specs, *state.specs}):
        there, wanted = state.specs.get(name), specs.get(name)
        errors.require(
            there == wanted,
            f"the variables in {state.path} are not this model's: {name} differs; use the settings "
            "and the version that it was written with",
            there=_describe(there),
            wanted=_describe(wanted),
        )


def _describe(spec: safetensors.Spec | None) -> str:
    return f"{spec.dtype} {list(spec.shape)}" if spec else "nothing"


def _dtype_name(variable: Any) -> str:
    """Return the type's name of a variable of Keras, which is one, or of TensorFlow."""
    return str(getattr(variable.dtype, "name", variable.dtype))
