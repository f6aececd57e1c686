"""Flags of a command, made from its settings classes, and the settings read from them."""

import dataclasses
import difflib
import itertools
import os
import pathlib
import re
import shlex
import textwrap
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from absl import flags

from lstm_gen.cli import paths
from lstm_gen.config import fields
from lstm_gen.platform import errors

S = TypeVar("S", bound=fields.Settings)
_FILE_FLAGS = ("flagfile", "preset")
_HELP_WIDTH = 80
_METAVARS = {int: "INTEGER", float: "NUMBER", str: "TEXT"}


@dataclasses.dataclass(frozen=True)
class _Owner:
    """A field that a flag sets."""

    kind: type[fields.Settings]
    field: str
    setting: fields.Setting
    default: Any
    hint: Any  # int, float, bool, str or tuple


class CommandLine:
    """The flags of one command, on a `FlagValues` of its own.

    A flag that several classes share has one value; where it is not given, each class has its own
    default.

    Attributes:
      kinds: The settings classes.
      rest: Arguments after `--`.

    Args:
      kinds: Settings classes, in the order of the help.
      known_flags: Returns the flags of every command: a preset or flag file serves all commands,
        and flags of others in it are ignored.
    """

    def __init__(
        self,
        kinds: Sequence[type[fields.Settings]],
        known_flags: Callable[[], frozenset[str]] = frozenset,
    ) -> None:
        self.kinds, self.rest = tuple(kinds), list[str]()
        self._known_flags = known_flags
        self._owners: dict[str, list[_Owner]] = {}
        for kind in kinds:
            for owner in _owners(kind):
                self._owners.setdefault(owner.setting.flag or owner.field, []).append(owner)
        self._flags, self._argv = self._define(), list[str]()

    def parse(self, argv: Sequence[str], rest: bool = False) -> None:
        """Set the flags from arguments.

        Flags of a --flagfile take its place; flags of a --preset apply where they are not given.

        Args:
          argv: Name of the program, and its arguments.
          rest: Accept arguments after `--`, for another command.

        Raises:
          InputError: For an argument that is no flag, an unknown preset, or a flag in a file that
            no command has.
          absl.flags.Error: For an unknown flag, or a value of another type.
        """
        own = list(argv[1:])
        if rest and "--" in own:
            place = own.index("--")
            own, self.rest = own[:place], own[place + 1 :]
        self._argv = own
        stray = self._flags([argv[0], *self._with_flag_files(own)])[1:]
        if stray:
            raise errors.InputError(
                "every argument must be a flag; booleans are written --flag, --noflag or "
                f"--flag=false. Received: {' '.join(stray)!r}"
            )
        if "preset" not in self._owners and self._flags["preset"].value:
            self.apply_preset(self._flags["preset"].value)

    def apply_preset(self, name: str) -> None:
        """Set the flags that were not given to the values of a preset.

        Raises:
          InputError: If there is no such preset, or it has a flag that no command has.
        """
        preset = self._define()
        preset([name, *self._read_file(str(preset_file(name)))])
        for flag in self._owners:
            if preset[flag].present and not self._flags[flag].present:
                self._flags[flag].value = preset[flag].value
                self._flags[flag].present = preset[flag].present

    def with_preset(self, name: str) -> "CommandLine":
        """Return the same command line with a preset; "" for none.

        Raises:
          InputError: As `apply_preset` does.
        """
        line = CommandLine(self.kinds, self._known_flags)
        line.parse(["", *self._argv])
        if name:
            line.apply_preset(name)
        return line

    def set(
        self, values: Mapping[str, Any], preset: str = "", excluded: Sequence[str] = ()
    ) -> None:
        """Set flags from Python values, and the flags not given from a preset.

        Args:
          values: Name of a flag to its value; None leaves it unset.
          preset: Name of a preset; "" for none.
          excluded: Flags that only the command has.

        Raises:
          InputError: For an unknown name, a value of another type, or an unknown preset.
        """
        for name, value in values.items():
            if name not in self._owners or name in excluded:
                names = sorted(set(self._owners) - set(excluded))
                near = difflib.get_close_matches(name, names, n=1, cutoff=0)
                raise errors.InputError(
                    f"settings must be flags of the command, and {name} is not; the nearest is "
                    f"{near[0]}. "
                    f"Received: {name}={value!r}"
                )
            if value is not None:
                flag = self._flags[name]
                flag.value, flag.present = _convert(value, self._owners[name][0].hint, name), 1
        if preset:
            self.apply_preset(preset)

    def build(self, kind: type[S]) -> S:
        """Return the settings of a class, validated, their paths resolved.

        Raises:
          InputError: If a value is refused.
        """
        values = {}
        for owner in _owners(kind):
            value = self._flags[owner.setting.flag or owner.field].value
            if value is None:
                value = owner.default
            elif owner.hint is tuple:
                value = tuple(value)
            values[owner.field] = self._resolve(value, owner.setting.path)
        return kind(**values)

    def value(self, flag: str) -> Any:
        """Return the value of a flag; None where it is not given and has no common default."""
        return self._flags[flag].value

    def is_given(self, flag: str) -> bool:
        """Whether a flag is on the command line, in a flag file or in the preset."""
        return bool(self._flags[flag].present)

    def resolve(self, path: str, direction: str) -> str:
        """Return where a path is; see `paths.StorageConfig.resolve`."""
        if paths.StorageConfig not in self.kinds:
            return path
        return self.build(paths.StorageConfig).resolve(path, direction)

    def _resolve(self, value: Any, direction: str) -> Any:
        if not direction:
            return value
        if isinstance(value, tuple):
            return tuple(self.resolve(path, direction) for path in value)
        return self.resolve(value, direction)

    def files(self, unless: str = "") -> str:
        """Return --preset and --flagfile as given, each followed by a space, for another command.

        Nothing is returned if the flag `unless` is on the command line: files were not made for it.
        """
        if unless and any(re.match(f"--?{unless}(=|$)", argument) for argument in self._argv):
            return ""
        found = []
        for argument, following in itertools.zip_longest(self._argv, self._argv[1:], fillvalue=""):
            name, equals, value = argument.lstrip("-").partition("=")
            if argument.startswith("-") and name in _FILE_FLAGS:
                found.append(f"--{name}={shlex.quote(value if equals else following)} ")
        return "".join(found)

    def _define(self) -> flags.FlagValues:
        """Return the flags, unparsed."""
        values = flags.FlagValues()
        for name, owners in self._owners.items():
            owner = owners[0]
            is_common = all(one.default == owner.default for one in owners)
            default = owner.default if is_common else None
            define: Any = {
                int: flags.DEFINE_integer,
                float: flags.DEFINE_float,
                bool: flags.DEFINE_boolean,
                str: flags.DEFINE_string,
                tuple: flags.DEFINE_multi_string if owner.setting.repeatable else flags.DEFINE_list,
            }[owner.hint]
            if isinstance(default, tuple):
                default = list(default)
            define(name, default, owner.setting.help, flag_values=values)
        if "preset" not in self._owners:
            flags.DEFINE_string("preset", "", "Ready-made settings.", flag_values=values)
        return values

    def _with_flag_files(self, arguments: Sequence[str]) -> Iterator[str]:
        """Yield the arguments, with the lines of flag files in their place."""
        following = iter(arguments)
        for argument in following:
            name, equals, path = argument.lstrip("-").partition("=")
            if argument.startswith("-") and name == "flagfile":
                yield from self._read_file(path if equals else next(following, ""))
            else:
                yield argument

    def _read_file(self, path: str) -> list[str]:
        """Return the flags of a file that this command has.

        Raises:
          InputError: For a flag that no command has, unless the file lists it in --undefok.
        """
        lines = self._flags.read_flags_from_files([f"--flagfile={path}"])
        own, ignored = [], set[str]()
        for line in lines:
            if _name(line) == "undefok":
                ignored.update(name.strip() for name in line.partition("=")[2].split(","))
        for line in lines:
            name = _name(line)
            if not line.startswith("-") or _is_one_of(name, self._owners):
                own.append(line)
            elif name != "undefok" and not _is_one_of(name, ignored):
                errors.require(
                    _is_one_of(name, self._known_flags()),
                    f"{path} must hold flags of the commands, and none has --{name}",
                    line=line,
                )
        return own

    def help(self) -> str:
        """Return the description of every flag, under the headings of its settings classes."""
        shared = [name for name, owners in self._owners.items() if len(owners) > 1]
        parts = []
        for kind in self.kinds:
            heading = (kind.__doc__ or "").splitlines()[0].rstrip(".")
            names = [name for name, owners in self._owners.items() if owners[0].kind is kind]
            parts.append((heading, [name for name in names if name not in shared]))
        after = max((self.kinds.index(self._owners[name][-1].kind) for name in shared), default=0)
        parts.insert(after + 1, ("Shared by several models", shared))
        sections = [
            "\n".join([heading, *map(self._describe, names)]) for heading, names in parts if names
        ]
        if "preset" not in self._owners:
            sections.append(
                "Ready-made settings\n"
                f"  --preset={'|'.join(preset_names())}\n"
                "      One file of settings for all commands; flags given beside it win.\n"
                "  --flagfile=FILE\n"
                "      Flags from a file of yours, one a line; the same file serves all commands."
            )
        return "\n\n".join(sections)

    def _describe(self, name: str) -> str:
        """Return the help of one flag."""
        owner, *others = self._owners[name]
        facts = [owner.setting.range] if owner.setting.range else []
        if not owner.setting.range and owner.setting.unit:
            facts.append(owner.setting.unit)
        if owner.setting.repeatable:
            facts.append("may be repeated")
        defaults = {_short_name(one.kind): _show(one.default) for one in (owner, *others)}
        if len(set(defaults.values())) > 1:
            facts.append("default " + ", ".join(f"{one} {text}" for one, text in defaults.items()))
        elif text := next(iter(defaults.values())):
            facts.append(f"default {text}")
        usage = (
            f"--{name}={'|'.join(owner.setting.choices) or _METAVARS.get(owner.hint, 'A,B,...')}"
        )
        if owner.hint is bool:
            usage = f"--[no]{name}"
        elif owner.setting.repeatable:
            usage = f"--{name}=TEXT"
        first = f"  {usage}" + (f"  ({'; '.join(facts)})" if facts else "")
        text = textwrap.fill(
            owner.setting.help,
            _HELP_WIDTH,
            initial_indent=" " * 6,
            subsequent_indent=" " * 6,
            break_long_words=False,
            break_on_hyphens=False,
        )
        return f"{first}\n{text}"


def flag_names(kinds: Sequence[type[fields.Settings]]) -> frozenset[str]:
    """Return the names of the flags that settings classes make."""
    return frozenset(one.setting.flag or one.field for kind in kinds for one in _owners(kind))


def preset_names() -> list[str]:
    """Return the names of the presets."""
    return sorted(path.stem for path in _presets_dir().glob("*.flags"))


def preset_file(name: str) -> pathlib.Path:
    """Return the file of a preset.

    Raises:
      InputError: If there is no such preset, naming those that there are.
    """
    errors.require_choice("preset", name, preset_names())
    return _presets_dir() / f"{name}.flags"


def _presets_dir() -> pathlib.Path:
    """Return the folder of the presets: installed in the package, in a clone beside it."""
    package = pathlib.Path(__file__).parents[1]
    installed = package / "presets"
    return installed if installed.is_dir() else package.parent / "flags" / "presets"


def _owners(kind: type[fields.Settings]) -> tuple[_Owner, ...]:
    """Return the fields of a class as flags."""
    hints, settings = typing.get_type_hints(kind), fields.settings_of(kind)
    return tuple(
        _Owner(kind, name, setting, getattr(kind, name), _type(hints[name]))
        for name, setting in settings.items()
    )


def _type(hint: Any) -> type:
    """Return the type of a flag: int, float, bool, str or tuple; `T | None` is T."""
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    (option,) = [one for one in options if one is not type(None)]
    return typing.get_origin(option) or option


def _convert(value: Any, hint: Any, name: str) -> Any:
    """Return a Python value as the value of a flag: paths as text, one text as a list of one.

    Raises:
      InputError: If it is not of the flag's type.
    """
    if hint is tuple:
        items = (value,) if isinstance(value, str | os.PathLike) else value
        return [_convert(item, str, name) for item in items]
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    return fields.checked(value, hint, name)


def _name(line: str) -> str:
    return line.lstrip("-").partition("=")[0]


def _is_one_of(name: str, names: Any) -> bool:
    """Whether `name` is a flag, or "no" and the name of one."""
    return name in names or name.removeprefix("no") in names


def _short_name(kind: type[fields.Settings]) -> str:
    return getattr(kind, "family", kind.__name__)


def _show(default: Any) -> str:
    """Return a default as it is written on the command line; "" for none."""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, float):
        return f"{default:g}"
    return (
        ",".join(default) if isinstance(default, tuple) else str("" if default is None else default)
    )
