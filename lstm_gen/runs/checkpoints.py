"""Checkpoints: directories of TensorFlow variables, written atomically and verified when read.

A state is a directory `step-00001200` with the variables in one file, `state.safetensors`, and a
`commit.json`, written last, with their names, types and shapes and the file's SHA-256. A directory
without a valid commit is not a state. The newest state is found by listing, not by a pointer.
Only arrays that the program expects are read: no pickles, no saved programs, no links.
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
from lstm_gen.platform import errors, failpoints, safetensors, storage

_COMMIT = "commit.json"
_ARRAYS = "state.safetensors"
_NAME = re.compile(r"step-(\d{8})")
_MAX_COMMIT_BYTES = 16 << 20

Variables = Mapping[str, Any]


class State(NamedTuple):
    """A committed state.

    Attributes:
      path: Directory of the state.
      step: Optimizer steps done.
      facts: Plain values stored beside the variables.
      specs: Names, types and shapes of the variables.
      sha256: SHA-256 of the file with their values.
    """

    path: str
    step: int
    facts: dict[str, Any]
    specs: safetensors.Specs
    sha256: str


def variables_of(**owners: Any) -> Variables:
    """Return every variable of Keras models and optimizers by a unique name.

    The names are Keras's paths without the owner's own name. (TensorFlow's object tracking would
    silently leave out the layers in a list of layers.)

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
    """Return types and shapes of variables, which need not be initialised."""
    return {
        name: safetensors.Spec(np.dtype(_dtype_name(variable)).name, tuple(variable.shape))
        for name, variable in variables.items()
    }


def write(parent: str, step: int, variables: Variables, facts: dict[str, Any]) -> State:
    """Write a state below `parent`, atomically.

    Args:
      parent: Directory of states.
      step: Optimizer steps done.
      variables: Variables by name.
      facts: Plain JSON values to store beside them.
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


def amend(state: State, facts: dict[str, Any]) -> State:
    """Replace the facts of a state, atomically; its variables stay as they are."""
    amended = state._replace(facts=facts)
    commit = fields.to_json(_commit_values(amended))
    storage.write_text(storage.join(state.path, _COMMIT), commit)
    return amended


def newest(
    parent: str, specs: safetensors.Specs | None = None, hashed: bool = True
) -> State | None:
    """Return the newest intact state below `parent`, or None if there is no state.

    A damaged state is skipped with a warning.

    Args:
      parent: Directory of states.
      specs: Expected variables, if known; a state with others is refused before its file is read.
      hashed: Whether to compare the hash of the file of the variables; else only its size.

    Raises:
      InputError: If there are states but none is intact, one holds other variables, or `parent` is
        a link.
    """
    errors.require(
        not storage.is_link(parent), "the states of a run must lie within it", link=parent
    )
    names = _names(parent)
    for name in sorted(names, reverse=True):
        state = _read_commit(storage.join(parent, name))
        if state is not None and specs is not None:
            _require_same(state, specs)
        if state is not None and _is_intact(state, hashed):
            return state
        logging.warning("%s is damaged or incomplete; looking for an older one", name)
    if names:
        raise errors.InputError(
            f"none of the states in {parent} is intact; restore one from a backup, or start again "
            f"with train_model.py --fresh. Received: {', '.join(names)}"
        )
    return None


def read(state: State, variables: Variables) -> None:
    """Fill the variables from a state.

    Raises:
      InputError: If the state does not hold exactly these variables (naming one), or a value is
        NaN or infinite.
    """
    _require_same(state, specs_of(variables))
    with storage.local_copy(storage.join(state.path, _ARRAYS)) as path:
        try:
            for name, values in safetensors.read(path, state.specs):
                finite = bool(np.isfinite(values).all())
                errors.require(finite, f"the weights in {state.path} must be finite", name=name)
                variables[name].assign(values)
        except safetensors.FormatError as error:
            raise errors.InputError(
                f"{state.path} must hold the arrays that its {_COMMIT} lists; restore it. "
                f"Received: {error}"
            ) from error


def keep_newest(parent: str, count: int, last: State) -> None:
    """Keep `last` and the states before it, `count` in all; delete others and unfinished writes.

    A state of a later step than `last`, the one just written, is damaged or was left by an
    earlier start of the run; it must not count, or good states would be deleted for it.
    """
    names = storage.list_names(parent)
    states = sorted(name for name in names if _NAME.fullmatch(name))
    kept = [name for name in states if name <= storage.name(last.path)][-count:]
    unfinished = [name for name in names if ".tmp-" in name and _NAME.match(name)]
    for name in sorted(set(states) - set(kept)) + unfinished:
        storage.remove_tree(storage.join(parent, name))
        failpoints.reach("state.removed")


def _names(parent: str) -> list[str]:
    """Return the names of possible states; in a bucket only those with a commit."""
    names = [name for name in storage.list_names(parent) if _NAME.fullmatch(name)]
    if not storage.is_remote(parent):
        return names
    return [name for name in names if storage.exists(storage.join(parent, name, _COMMIT))]


def _read_commit(path: str) -> State | None:
    """Return the state that a commit describes, or None if the commit is missing or damaged."""
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


def _is_intact(state: State, hashed: bool) -> bool:
    """Whether the values are as committed; the size is compared first, which costs nothing."""
    path = storage.join(state.path, _ARRAYS)
    n_bytes = safetensors.size(state.specs)
    return (
        storage.is_plain_file(path, n_bytes)
        and storage.size_bytes(path) == n_bytes
        and (not hashed or storage.sha256(path) == state.sha256)
    )


def _require_same(state: State, specs: safetensors.Specs) -> None:
    """Raise unless a state holds these variables, naming the first that differs."""
    for name in sorted({*specs, *state.specs}):
        stored, expected = state.specs.get(name), specs.get(name)
        errors.require(
            stored == expected,
            f"the variables in {state.path} are not this model's: {name} differs; use the settings "
            "and the version that it was written with",
            stored=_describe(stored),
            expected=_describe(expected),
        )


def _describe(spec: safetensors.Spec | None) -> str:
    return f"{spec.dtype} {list(spec.shape)}" if spec else "nothing"


def _dtype_name(variable: Any) -> str:
    """Return the name of the dtype of a Keras variable, a string, or a TensorFlow variable."""
    return str(getattr(variable.dtype, "name", variable.dtype))
