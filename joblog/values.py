"""Values of settings: read from TOML, from text or from a flag, held against what is allowed, and shown.

Imports next to nothing: settings are read at the start of every `joblog run`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from joblog.errors import InvalidInput

Value = bool | int | float | str | Path | tuple[str, ...] | None

MASKED = "***"
_SIZES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_SIZES |= {"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40}
_SIZE = re.compile(r"\s*([0-9]{1,18}(?:\.[0-9]{1,6})?)\s*([a-zA-Z]{0,3})\s*\Z")
_DURATION = re.compile(r"([0-9]{1,9})([smhdw])")
_DURATIONS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_TRUTHS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_SHOWN_LENGTH = 80


class Rule(NamedTuple):
    """What a setting may be. type: as written in its annotation; low and high: bounds, both allowed themselves."""

    type: str
    doc: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    secret: bool = False
    check: Callable[[str], object] | None = None


def parse_size(text: str) -> int:
    """A number of bytes from a text such as "64MiB", "1.5 GB" or "4096"; raises InvalidInput."""
    match = _SIZE.match(text)
    factor = _SIZES.get(match[2].lower()) if match else None
    if match is None or factor is None:
        raise InvalidInput(
            f"{text[:_SHOWN_LENGTH]!r} is not a size: write a number of bytes, or one with KiB, MiB or GiB"
        )
    whole, _, fraction = match[1].partition(".")
    parts, scale = int(whole + fraction) * factor, int(10 ** len(fraction))
    if parts % scale:
        raise InvalidInput(f"{text[:_SHOWN_LENGTH]!r} is not a whole number of bytes")
    return parts // scale


def format_size(size_bytes: int) -> str:
    """The same size in the largest binary unit that it is a whole number of: "32 MiB", "1000 bytes"."""
    for shift, unit in ((40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")):
        if size_bytes and size_bytes % (1 << shift) == 0:
            return f"{size_bytes >> shift} {unit}"
    return f"{size_bytes} bytes"


def parse_duration(text: str) -> int:
    """Whole seconds, 1 or more, from a text such as "30s", "90m", "12h", "14d" or "2w"; raises InvalidInput."""
    match = _DURATION.fullmatch(text)
    seconds = int(match[1]) * _DURATIONS[match[2]] if match else 0
    if not seconds:
        raise InvalidInput(f"{text[:_SHOWN_LENGTH]!r} is no duration: write a number and s, m, h, d or w, as 14d")
    return seconds


def parse(rule: Rule, raw: object, *, textual: bool) -> Value:
    """`raw` as a value that `rule` allows. textual: it comes from a variable or flag, where everything is text.

    Raises InvalidInput; its message says what is allowed, and why not this where that is not obvious.
    """
    value = _PARSERS[rule.type](rule, raw, textual)
    if isinstance(value, int | float) and not isinstance(value, bool):
        too_low = rule.low is not None and value < rule.low
        if too_low or (rule.high is not None and value > rule.high):
            raise InvalidInput(f"must be {allowed(rule)}")
    if rule.choices and any(item not in rule.choices for item in (value if isinstance(value, tuple) else (value,))):
        raise InvalidInput(f"must be {allowed(rule)}")
    if rule.check is not None and isinstance(value, str):
        try:
            rule.check(value)
        except InvalidInput as error:
            raise InvalidInput(f"is not allowed: {error}") from None
    return value


def _refused(rule: Rule) -> InvalidInput:
    return InvalidInput(f"must be {allowed(rule)}")


def _bool(rule: Rule, raw: object, textual: bool) -> Value:
    if isinstance(raw, bool):
        return raw
    if textual and isinstance(raw, str) and raw.strip().lower() in _TRUTHS:
        return _TRUTHS[raw.strip().lower()]
    raise _refused(rule)


def _int(rule: Rule, raw: object, textual: bool) -> Value:
    if isinstance(raw, int) and not isinstance(raw, bool):
        return raw
    if isinstance(raw, str) and (textual or rule.unit == "bytes"):
        try:
            return parse_size(raw) if rule.unit == "bytes" else int(raw)
        except (InvalidInput, ValueError):
            raise _refused(rule) from None
    raise _refused(rule)


def _float(rule: Rule, raw: object, textual: bool) -> Value:
    if isinstance(raw, str) and not textual:
        raise _refused(rule)
    try:
        value = float(raw) if isinstance(raw, int | float | str) and not isinstance(raw, bool) else math.nan
    except (ValueError, OverflowError):
        value = math.nan
    if not math.isfinite(value):
        raise _refused(rule)
    return value


def _str(rule: Rule, raw: object, _textual: bool) -> Value:
    if not isinstance(raw, str) or "\0" in raw:
        raise _refused(rule)
    return raw


def _path(rule: Rule, raw: object, _textual: bool) -> Value:
    if isinstance(raw, Path):
        return raw
    if not isinstance(raw, str) or "\0" in raw:
        raise _refused(rule)
    try:
        return Path(raw).expanduser() if raw else None
    except RuntimeError as error:
        raise InvalidInput(f"is not a path: {error}") from None


def _texts(rule: Rule, raw: object, textual: bool) -> Value:
    if textual and isinstance(raw, str):
        raw = [item.strip() for item in raw.split(",") if item.strip()]
    if not isinstance(raw, list | tuple) or not all(isinstance(item, str) for item in raw):
        raise _refused(rule)
    return tuple(raw)


_PARSERS: dict[str, Callable[[Rule, object, bool], Value]] = {
    "bool": _bool,
    "int": _int,
    "float": _float,
    "str": _str,
    "Path | None": _path,
    "tuple[str, ...]": _texts,
}


def _range(rule: Rule, shown: Callable[[float], str]) -> str:
    if rule.low is not None and rule.high is not None:
        return f" from {shown(rule.low)} to {shown(rule.high)}"
    if rule.low is not None:
        return f" of at least {shown(rule.low)}"
    return f" of at most {shown(rule.high)}" if rule.high is not None else ""


def allowed(rule: Rule) -> str:
    """What the rule allows, in words that follow "must be"."""
    if rule.choices:
        one = f"one of {', '.join(rule.choices)}"
        return f"a list with each {one}" if rule.type.startswith("tuple") else one
    if rule.type == "int" and rule.unit == "bytes":
        limits = _range(rule, lambda size: format_size(int(size)))
        return f'a size{limits} (a number of bytes, or a text such as "64MiB")'
    if rule.type in ("int", "float"):
        number = "a whole number" if rule.type == "int" else "a number"
        unit = f" of {rule.unit}" if rule.unit else ""
        return f"{number}{unit}{_range(rule, lambda limit: f'{limit:g}')}"
    kinds = {"bool": "true or false", "str": "a text", "Path | None": "a path", "tuple[str, ...]": "a list of texts"}
    return kinds[rule.type]


def show(rule: Rule, value: object) -> str:
    """A value as TOML would have it, a secret masked."""
    if rule.secret and value:
        return f'"{MASKED}"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and rule.unit == "bytes" and value >= 1 << 10 and value % (1 << 10) == 0:
        return f'"{format_size(value).replace(" ", "")}"'
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(show(rule, item) for item in value)}]"
    return _quoted("" if value is None else str(value))


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped) + '"'


def show_raw(rule: Rule | None, raw: object) -> str:
    """What somebody wrote, short enough for a message; nothing of a secret."""
    if rule is not None and rule.secret:
        return MASKED
    text = repr(raw)
    return text if len(text) <= _SHOWN_LENGTH else text[: _SHOWN_LENGTH - 3] + "..."
