"""Settings: declared once as frozen dataclasses, read from a file, from variables and from flags.

A declaration::

    @dataclass(frozen=True, slots=True)
    class IngestSettings:
        window_bytes: int = setting(32 << 20, "Bytes a worker may have on the way.", unit="bytes", low=1 << 20)

    @dataclass(frozen=True, slots=True)
    class LeaderSettings(Settings):
        data_dir: Path | None = setting(None, "Folder of all state.")
        ingest: IngestSettings = section(IngestSettings, "What workers send.")

The key of that setting is `ingest.window_bytes` in the file (`[ingest]`, `window_bytes = "64MiB"`), and its variable
is `JOBLOG_INGEST_WINDOW_BYTES`. A variable overrides the file, a flag overrides both; an empty variable counts as not
set. Types are bool, int, float, str, `Path | None` and `tuple[str, ...]` (in variables: separated by commas).
A secret is never taken from a flag, and from a file only when nobody else may read it.

Only the entry points of programs call `load`; they pass values down.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, TypeVar

from joblog.errors import InvalidInput, InvalidSettings
from joblog.values import Rule, Value, parse, show, show_raw

if TYPE_CHECKING:
    from collections.abc import Callable

PREFIX = "JOBLOG_"
COMMAND_LINE = "command line"
DEFAULT = "default"

# Kubernetes puts variables for every service of a namespace into a container: they are not ours, whatever their name.
_SERVICE_LINK = re.compile(r"_(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT(_[0-9]+_(TCP|UDP)(_.+)?)?)\Z")
_TABLE = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]")
_KEY = re.compile(r"""\s*["']?([\w.\-]+)["']?\s*=""")


class Settings:
    """Base of the settings of a whole program."""

    __slots__ = ()
    # How variables begin that are another program's, though they could be of a section of this one.
    foreign_variables: ClassVar[tuple[str, ...]] = ()

    def problems(self) -> Iterator[tuple[str, str]]:
        """(key, what is wrong with it) for values that are allowed, but not together."""
        yield from ()


S = TypeVar("S", bound=Settings)


class Declared(NamedTuple):
    """A setting as it was declared; key is its dotted name."""

    key: str
    rule: Rule
    default: Value

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return PREFIX + self.key.replace(".", "_").upper()


class Effective(NamedTuple):
    """A setting as it is in force. value: as TOML, secrets masked. source: where it comes from."""

    key: str
    value: str
    default: str
    source: str
    rule: Rule


@dataclass(frozen=True, slots=True)
class Loaded(Generic[S]):
    """Settings in force, and for each key that was set: where."""

    values: S
    sources: Mapping[str, str]

    def source(self, key: str) -> str:
        """Where the value of `key` comes from: a file and line, a variable, the command line or the default."""
        return self.sources.get(key, DEFAULT)


class _Found(NamedTuple):
    key: str
    raw: object
    source: str
    textual: bool


def setting(
    default: Value,
    doc: str,
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    secret: bool = False,
    check: Callable[[str], object] | None = None,
) -> Any:
    """Declares a setting. check: raises InvalidInput for a text that is not allowed."""
    rule = Rule("", doc, unit, low, high, choices, secret, check)
    return field(default=default, metadata={"rule": rule})


def section(kind: type[Any], doc: str) -> Any:
    """Declares a group of settings; its name becomes the first part of their keys."""
    return field(default_factory=kind, metadata={"section": kind, "doc": doc})


@dataclass(frozen=True, slots=True)
class LogSettings:
    """What a daemon says about itself, on stderr; the same for all of them."""

    level: str = setting(
        "info", "The least important messages that are shown.", choices=("debug", "info", "warning", "error")
    )
    format: str = setting("text", "Lines of text, or JSON, an object per line.", choices=("text", "json"))


def declared(kind: type[Any], prefix: str = "") -> Iterator[Declared]:
    """All settings of `kind` in the order of their declaration."""
    assert is_dataclass(kind)
    for item in fields(kind):
        if "section" in item.metadata:
            yield from declared(item.metadata["section"], f"{prefix}{item.name}.")
        else:
            rule: Rule = item.metadata["rule"]
            default: Any = item.default
            yield Declared(prefix + item.name, rule._replace(type=str(item.type)), default)


def sections(kind: type[Any], prefix: str = "") -> dict[str, str]:
    """Dotted names of the sections of `kind`, those in others too, and what each is about."""
    assert is_dataclass(kind)
    found: dict[str, str] = {}
    for item in fields(kind):
        if "section" in item.metadata:
            found[prefix + item.name] = item.metadata["doc"]
            found |= sections(item.metadata["section"], f"{prefix}{item.name}.")
    return found


def load(
    kind: type[S],
    *,
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> Loaded[S]:
    """The settings in force. flags: by dotted key; None means that the flag was not given.

    Raises InvalidSettings, which names every value that is wrong, where it stands and what is allowed.
    """
    known = {item.key: item for item in declared(kind)}
    found = [
        *(_from_file(kind, file) if file is not None else ()),
        *_from_environment(kind, environ or {}),
        *(_Found(key, raw, COMMAND_LINE, True) for key, raw in (flags or {}).items() if raw is not None),
    ]
    values: dict[str, Value] = {}
    sources: dict[str, str] = {}
    problems: list[str] = []
    for item in found:
        try:
            values[item.key] = _value(known, item, file)
            sources[item.key] = item.source
        except InvalidInput as error:
            problems.append(f"{item.source}: {error}")
    if problems:
        raise InvalidSettings("\n".join(problems))
    loaded = Loaded(_build(kind, values), sources)
    for key, message in loaded.values.problems():
        problems.append(
            f"{loaded.source(key)}: {key} = {show(known[key].rule, values.get(key, known[key].default))} {message}"
        )
    if problems:
        raise InvalidSettings("\n".join(problems))
    return loaded


def effective(loaded: Loaded[Any]) -> list[Effective]:
    """Every setting as it is in force."""
    result = []
    for item in declared(type(loaded.values)):
        value: Any = loaded.values
        for name in item.key.split("."):
            value = getattr(value, name)
        shown = show(item.rule, value)
        result.append(Effective(item.key, shown, show(item.rule, item.default), loaded.source(item.key), item.rule))
    return result


def split_assignments(texts: Iterable[str]) -> dict[str, str]:
    """`--set KEY=VALUE` options as flags for `load`; raises InvalidSettings for one without "="."""
    flags = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise InvalidSettings(f"{COMMAND_LINE}: {text[:80]!r} sets nothing: write KEY=VALUE, as in log.level=debug")
        flags[key.strip()] = value
    return flags


def _value(known: Mapping[str, Declared], item: _Found, file: Path | None) -> Value:
    if item.key not in known:
        raise InvalidInput(f"{item.key} is not a setting{_suggestion(item.key, known)}")
    rule = known[item.key].rule
    if rule.secret and item.source == COMMAND_LINE:
        raise InvalidInput(
            f"{item.key} is a secret, and others on this machine can see flags: set {known[item.key].variable}"
        )
    if rule.secret and not item.textual and file is not None and file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise InvalidInput(f"{item.key} is a secret in a file that others may read: chmod 600 {file}")
    try:
        return parse(rule, item.raw, textual=item.textual)
    except InvalidInput as error:
        raise InvalidInput(f"{item.key} = {show_raw(rule, item.raw)} {error}") from None


def _suggestion(key: str, known: Mapping[str, Declared]) -> str:
    from difflib import get_close_matches

    last = key.rpartition(".")[2]
    close = [name for name in known if name.rpartition(".")[2] == last] or get_close_matches(key, known, 1, 0.6)
    return f"; did you mean {' or '.join(close)}?" if close else "; `joblog config show` lists all"


def _build(kind: type[Any], values: Mapping[str, Value], prefix: str = "") -> Any:
    given: dict[str, Any] = {}
    for item in fields(kind):
        key = prefix + item.name
        if "section" in item.metadata:
            given[item.name] = _build(item.metadata["section"], values, f"{key}.")
        elif key in values:
            given[item.name] = values[key]
    return kind(**given)


def _from_environment(kind: type[Any], environ: Mapping[str, str]) -> Iterator[_Found]:
    """The variables of known settings, and those in a section of ours that no setting has."""
    variables = {item.variable: item.key for item in declared(kind)}
    groups = {f"{PREFIX}{name.upper()}_": name for name in sections(kind)}
    for variable, raw in environ.items():
        if not raw or not variable.startswith(PREFIX):
            continue
        if variable in variables:
            yield _Found(variables[variable], raw, variable, True)
        elif not _SERVICE_LINK.search(variable) and not variable.startswith(kind.foreign_variables):
            for group, name in groups.items():
                if variable.startswith(group):
                    yield _Found(f"{name}.{variable.removeprefix(group).lower()}", raw, variable, True)
                    break


def _from_file(kind: type[Any], file: Path) -> Iterator[_Found]:
    import tomllib

    try:
        text = file.read_bytes().decode()
        tables = tomllib.loads(text)
    except OSError as error:
        raise InvalidSettings(f"{file}: can't be read: {error.strerror}") from None
    except ValueError as error:
        raise InvalidSettings(f"{file}: is not TOML: {error}") from None
    lines = _lines(text)
    for key, raw in _flat(tables, sections(kind)):
        line = lines.get(key) or lines.get(key.partition(".")[0])
        yield _Found(key, raw, f"{file} line {line}" if line else str(file), False)


def _flat(table: Mapping[str, object], groups: Mapping[str, str], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Dotted keys and values of a table, those of tables in it that are sections too."""
    for name, value in table.items():
        if isinstance(value, dict) and prefix + name in groups:
            yield from _flat(value, groups, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _lines(text: str) -> dict[str, int]:
    """The line of every table and key, as far as a plain look at the text tells."""
    lines: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if head := _TABLE.match(line):
            table = head[1] + "."
            lines.setdefault(head[1], number)
        elif key := _KEY.match(line):
            lines.setdefault(table + key[1], number)
    return lines
