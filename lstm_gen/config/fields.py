"""Settings as dataclass fields: validation, and JSON."""

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from lstm_gen.platform import errors

T = TypeVar("T")


def require_least(config: object, least: float, *names: str) -> None:
    """Raise the one-line error unless each of these fields of `config` is at least `least`."""
    for name in names:
        value = getattr(config, name)
        errors.require(value >= least, f"{name} must be at least {least}", **{name: value})


def require_share(config: object, *names: str) -> None:
    """Raise the one-line error unless each of these fields is from 0 to below 1."""
    for name in names:
        value = getattr(config, name)
        errors.require(0 <= value < 1, f"{name} must be from 0 to below 1", **{name: value})


def require_sign(config: object, *names: str, zero: bool) -> None:
    """Raise the one-line error unless each field is positive, or 0 where `zero` is allowed."""
    expected = "must not be negative" if zero else "must be positive"
    for name in names:
        value = getattr(config, name)
        errors.require(value > 0 or (zero and value == 0), f"{name} {expected}", **{name: value})


def to_dict(config: Any) -> dict[str, Any]:
    """Return a configuration as plain JSON values."""
    return dataclasses.asdict(config)


def from_dict(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    """Build a configuration from JSON values, refusing what does not fit.

    Args:
      kind: A frozen dataclass of this package.
      values: Field name to value, as `to_dict` wrote it.
      where: What the values come from, named in errors.

    Raises:
      InputError: For a missing, unknown or wrongly typed field, naming it.
    """
    # A type variable cannot be bound to "a dataclass".
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    errors.require(isinstance(values, Mapping), f"{where} must be a JSON object", value=values)
    unknown = sorted(set(values) - set(fields))
    missing = sorted(set(fields) - set(values))
    errors.require(
        not unknown and not missing,
        f"{where} does not have the fields of {kind.__name__}; it was written by another version, "
        "make it again",
        unknown=unknown,
        missing=missing,
    )
    hints = typing.get_type_hints(kind)
    checked = {name: _checked(values[name], hints[name], f"{where}: {name}") for name in fields}
    return kind(**checked)


def _checked(value: Any, hint: Any, where: str) -> Any:
    """Return `value` if it is what the type hint says (an int where a float is meant is fine)."""
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    for option in options:
        if option is type(None) and value is None:
            return None
        if option is float and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        if option is bool and isinstance(value, bool):
            return value
        if option is int and isinstance(value, int) and not isinstance(value, bool):
            return value
        if option is str and isinstance(value, str):
            return value
    expected = " or ".join("null" if one is type(None) else one.__name__ for one in options)
    raise errors.InputError(f"{where} must be {expected}. Received: {value!r}")


def to_json(values: Mapping[str, Any]) -> str:
    """Return the one JSON text of a mapping: sorted keys, indented, ending in a newline."""
    return json.dumps(values, indent=2, sort_keys=True, allow_nan=False) + "\n"
