"""Settings as dataclass fields: one declaration of default, help, unit and range; validation; JSON.

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class FilterConfig(fields.Settings):
        cutoff_hz: float = fields.setting(20.0, "Cutoff frequency.", unit="Hz", above=0)

The command line makes its flags from the same declarations (`lstm_gen.cli.settings`).
"""

import copy
import dataclasses
import json
import math
import re
import types
import typing
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from lstm_gen.platform import errors

T = TypeVar("T")
_KEY = "setting"
ATTACHED = {"attached": True}
"""Metadata of a dataclass field that is no setting: it has no flag, and is not in JSON."""

_INTEGER = re.compile(r"[+-]?[0-9]{1,9}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """Documentation and bounds of a field.

    Attributes:
      help: Meaning and consequences, for a reader who is new to the setting.
      unit: Unit, as it follows a number: "Hz".
      at_least: Smallest value.
      above: Value that must be exceeded.
      at_most: Largest value.
      below: Value that must not be reached.
      zero: Meaning of 0, where it is special: "off".
      choices: Every value there is, of a tuple every item; empty for any.
      flag: Name of the flag, where it is not that of the field.
      repeatable: Of a tuple: given by repeating the flag, and not as a list with commas.
      path: "input" or "output" for paths, which the command line may place in a bucket.
    """

    help: str
    unit: str = ""
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None
    zero: str = ""
    choices: tuple[str, ...] = ()
    flag: str = ""
    repeatable: bool = False
    path: str = ""

    @property
    def range(self) -> str:
        """The range in words, with the unit; "" for any value."""
        low, high = self.at_least, self.at_most
        bounded = high is not None or self.below is not None
        top = f"{high}" if high is not None else f"below {self.below}"
        most = f"at most {high}" if high is not None else top
        if low is not None:
            text = f"from {low} to {top}" if bounded else f"at least {low}"
        elif self.above is not None:
            text = f"above {self.above}" + (f" and {most}" if bounded else "")
        else:
            text = most if bounded else ""
        unit = f" {self.unit}" if text and self.unit else ""
        return text + unit + (f" (0: {self.zero})" if self.zero else "")

    def contains(self, value: float) -> bool:
        """Whether a number is finite and in the range."""
        return (
            math.isfinite(value)
            and (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )


def setting(default: Any, help: str, **options: Any) -> Any:
    """Return a dataclass field with a default, a help text and the bounds of `Setting`."""
    return dataclasses.field(default=default, metadata={_KEY: Setting(help=help, **options)})


def like(kind: type, name: str, **changes: Any) -> Any:
    """Return a field declared as another class's, with some of its properties changed.

    Args:
      kind: The other class.
      name: The field's name there.
      **changes: A new `default`, or properties of `Setting`.
    """
    field = next(one for one in dataclasses.fields(kind) if one.name == name)
    default = changes.pop("default", field.default)
    changed = dataclasses.replace(field.metadata[_KEY], **changes)
    return dataclasses.field(default=default, metadata={_KEY: changed})


def settings_of(kind: Any) -> dict[str, Setting]:
    """Return the settings of a class or instance, by the name of the field."""
    return {field.name: field.metadata[_KEY] for field in _stored(kind)}


class Settings:
    """Base of settings: frozen dataclasses whose fields `setting` declares.

    The first line of a subclass's docstring is the heading of its flags in a command's help.
    """

    removed: ClassVar[Mapping[str, Any]] = {}
    """Fields of earlier versions, each with the only value that is still supported."""

    added: ClassVar[Mapping[str, Any]] = {}
    """Fields that files of earlier versions lack, each with the value that held there."""

    def __post_init__(self) -> None:
        unused = self.unused()
        for name, setting in settings_of(self).items():
            if name not in unused:
                require_valid(setting, setting.flag or name, getattr(self, name))
        self.check()

    def unused(self) -> frozenset[str]:
        """Return the fields that others make irrelevant; they are not validated."""
        return frozenset()

    def check(self) -> None:
        """Raise InputError where valid values do not go together."""


def require_valid(setting: Setting, name: str, value: Any) -> None:
    """Raise the one-line error unless a value is in the setting's range and of its choices.

    Args:
      setting: The declaration.
      name: Name of the flag, for the message.
      value: Value; None is unset, and always valid.

    Raises:
      InputError: Naming the setting, its range or choices, and the value.
    """
    if setting.choices:
        for one in value if isinstance(value, tuple) else (value,):
            errors.require_choice(name, one, setting.choices)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        expected = setting.range or "finite"
        errors.require(setting.contains(value), f"{name} must be {expected}", **{name: value})


def integers(name: str, text: str) -> tuple[int, ...]:
    """Return the integers of a text such as "4,4,4" or "-1,0,+1".

    Args:
      name: Of the setting, for the error.
      text: Its value.

    Raises:
      InputError: If a part is no whole number.
    """
    parts = [part.strip() for part in text.split(",")]
    errors.require(
        all(_INTEGER.fullmatch(part) for part in parts),
        f"{name} must be whole numbers separated by commas, as in 4,4,4",
        **{name: text},
    )
    return tuple(int(part) for part in parts)


def to_dict(config: Any) -> dict[str, Any]:
    """Return a configuration as plain JSON values."""
    return {field.name: copy.deepcopy(getattr(config, field.name)) for field in _stored(config)}


def _stored(kind: Any) -> list[dataclasses.Field[Any]]:
    """Return the fields of a class or instance but those that are attached."""
    return [field for field in dataclasses.fields(kind) if field.metadata != ATTACHED]


def from_dict(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    """Build a configuration from JSON values.

    Missing fields, as in files of earlier versions, take the value that a class lists in `added`,
    or else their defaults. Fields that it lists in `removed` must have the value listed there.

    Args:
      kind: A frozen dataclass of settings.
      values: Field name to value, as `to_dict` wrote it.
      where: Source of the values, named in errors.

    Raises:
      InputError: For an unknown, removed or wrongly typed field, naming it.
    """
    fields = _stored(kind)
    errors.require(isinstance(values, Mapping), f"{where} must be a JSON object", value=values)
    removed: Mapping[str, Any] = getattr(kind, "removed", {})
    for name in sorted(set(values) & set(removed)):
        errors.require(
            values[name] == removed[name],
            f"{where}: {name} can only be {removed[name]!r} since its other values were removed; "
            "use the version that it was written with, or make it again",
            **{name: values[name]},
        )
    unknown = sorted(set(values) - {field.name for field in fields} - set(removed))
    missing = sorted(
        field.name
        for field in fields
        if field.name not in values
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    )
    errors.require(
        not unknown and not missing,
        f"{where} does not have the fields of {kind.__name__}; it was written by another version, "
        "make it again",
        unknown=unknown,
        missing=missing,
    )
    hints = typing.get_type_hints(kind)
    values = {**getattr(kind, "added", {}), **values}
    names = [field.name for field in fields if field.name in values]
    return kind(**{name: checked(values[name], hints[name], f"{where}: {name}") for name in names})


def checked(value: Any, hint: Any, where: str) -> Any:
    """Return `value` if it is of the type of the hint; an int is accepted as a float.

    Args:
      value: JSON or Python value.
      hint: int, float, bool, str, or a union of them and None.
      where: Name of the value, for the message.

    Raises:
      InputError: If it is of another type.
    """
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
    """Return a mapping as JSON: sorted keys, indented, a newline at the end."""
    return json.dumps(values, indent=2, sort_keys=True, allow_nan=False) + "\n"
