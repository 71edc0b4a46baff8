"""Strict reading of JSON documents: every field by its name and type, none left over."""

from __future__ import annotations

import base64
import binascii
import calendar
import json
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from joblog.errors import Corrupt

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.(\d{9})Z\Z", re.ASCII)
_HEX = re.compile(r"(?:[0-9a-f]{2})*\Z")
MAX_INTEGER = 2**64 - 1


def format_time(time_ns: int) -> str:
    """A time in UTC with nine digits after the second; "" for 0, which means unknown."""
    if not time_ns:
        return ""
    seconds, fraction = divmod(time_ns, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{fraction:09d}Z"


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a field is there twice")
    return found


def parse_document(data: bytes, what: str, limit_bytes: int) -> Fields:
    """The JSON object `data`. what: for messages. Raises Corrupt when it is none, or has more than limit_bytes."""
    if len(data) > limit_bytes:
        raise Corrupt(f"{what}: has {len(data)} bytes, at most {limit_bytes} are allowed")
    try:
        found = json.loads(data.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Corrupt(f"{what}: is no JSON: {str(error)[:200]}") from None
    return Fields(found, what)


class Fields:
    """A JSON object whose fields are taken one after another; each must be there. Raises Corrupt."""

    def __init__(self, found: object, where: str) -> None:
        if not isinstance(found, dict):
            raise Corrupt(f"{where}: is no JSON object")
        self._left: dict[str, object] = dict(found)
        self._where = where

    def fail(self, name: str, why: str) -> NoReturn:
        """Raises Corrupt for the field `name`."""
        raise Corrupt(f"{self._where}: {name} {why}")

    def _take(self, name: str) -> object:
        if name not in self._left:
            self.fail(name, "is missing")
        return self._left.pop(name)

    def end(self) -> None:
        """Raises Corrupt when fields are left."""
        if self._left:
            self.fail(repr(min(self._left))[:80], "is not a field that this version knows")

    def text(self, name: str) -> str:
        """A text that can be UTF-8."""
        value = self._take(name)
        if not isinstance(value, str) or any("\ud800" <= char <= "\udfff" for char in value):
            self.fail(name, "is no text")
        return value

    def integer(self, name: str, low: int = 0, high: int = MAX_INTEGER) -> int:
        """An integer of low to high."""
        value = self._take(name)
        if type(value) is not int or not low <= value <= high:
            self.fail(name, f"is no integer of {low} to {high}")
        return value

    def number(self, name: str) -> float:
        """A number of at least 0."""
        value = self._take(name)
        if type(value) not in (int, float) or not 0 <= value < 1e300:  # type: ignore[operator]
            self.fail(name, "is no number of at least 0")
        return float(value)  # type: ignore[arg-type]

    def truth(self, name: str) -> bool:
        """True or false."""
        value = self._take(name)
        if not isinstance(value, bool):
            self.fail(name, "is neither true nor false")
        return value

    def choice(self, name: str, choices: Mapping[str, int]) -> int:
        """What one of a few words stands for."""
        value = self.text(name)
        if value not in choices:
            self.fail(name, f"is {value[:40]!r}, none of {', '.join(choices)}")
        return choices[value]

    def hex(self, name: str, *lengths: int) -> bytes:
        """Lower-case hexadecimal digits of so many bytes."""
        value = self.text(name)
        if not _HEX.match(value) or len(value) // 2 not in lengths:
            self.fail(name, f"is not {' or '.join(map(str, lengths))} bytes in hexadecimal digits")
        return bytes.fromhex(value)

    def base64(self, name: str) -> bytes:
        """Bytes in base64 with padding."""
        try:
            return base64.b64decode(self.text(name), validate=True)
        except (binascii.Error, ValueError):
            self.fail(name, "is no base64")

    def time_ns(self, name: str) -> int:
        """A time as format_time() writes it."""
        value = self.text(name)
        if not value:
            return 0
        match = _TIME.match(value)
        try:
            parts = time.strptime(match[1] if match else "", "%Y-%m-%dT%H:%M:%S")
        except ValueError:
            self.fail(name, "is no time such as 2026-01-31T12:00:00.000000000Z")
        time_ns = calendar.timegm(parts) * 1_000_000_000 + int(match[2]) if match else 0
        if format_time(time_ns) != value or not 0 < time_ns <= MAX_INTEGER:
            self.fail(name, "is out of range")
        return time_ns

    def texts(self, name: str) -> list[str]:
        """A list of texts."""
        value = self._take(name)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self.fail(name, "is no list of texts")
        return [Fields({name: item}, self._where).text(name) for item in value]

    def mapping(self, name: str) -> dict[str, str]:
        """Texts by name."""
        value = self._take(name)
        fields = Fields(value, f"{self._where}: {name}")
        return {key: fields.text(key) for key in value} if isinstance(value, dict) else {}

    def object(self, name: str) -> Fields:
        """A JSON object inside."""
        return Fields(self._take(name), f"{self._where}: {name}")

    def optional(self, name: str) -> Fields | None:
        """A JSON object inside, or null."""
        value = self._take(name)
        return None if value is None else Fields(value, f"{self._where}: {name}")

    def is_null(self, name: str) -> bool:
        """Whether the field, which must be there, is null; then it is taken."""
        if name in self._left and self._left[name] is None:
            del self._left[name]
            return True
        return False

    def items(self, name: str) -> list[Any]:
        """A list of anything."""
        value = self._take(name)
        if not isinstance(value, list):
            self.fail(name, "is no list")
        return value

    def objects(self, name: str) -> Iterator[Fields]:
        """The JSON objects of a list."""
        for at, item in enumerate(self.items(name)):
            yield Fields(item, f"{self._where}: {name}[{at}]")
