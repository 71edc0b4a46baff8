"""What is searched for: a text or a regular expression, in an engine whose time grows with the text alone (RE2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import re2

from joblog.errors import InvalidInput

MAX_PATTERN_BYTES = 1000
_MEMORY_BYTES = 8 << 20


class Found(NamedTuple):
    """Where a match lies in the bytes that were searched."""

    begin: int
    end: int


class Pattern:
    """A compiled pattern; it matches within lines only. Threads may share an instance."""

    def __init__(self, text: str, *, is_regex: bool = False, ignore_case: bool = False) -> None:
        """Raises InvalidInput when the text is empty, too long, holds a newline, or is not a regular expression."""
        encoded = text.encode(errors="surrogateescape")
        if not encoded:
            raise InvalidInput("the pattern is empty: give what to search for")
        if len(encoded) > MAX_PATTERN_BYTES:
            raise InvalidInput(f"the pattern has {len(encoded)} bytes, at most {MAX_PATTERN_BYTES} are allowed")
        if not is_regex and b"\n" in encoded:
            raise InvalidInput("the pattern holds a newline: a search looks at one line at a time")
        options = re2.Options()
        options.never_nl = True
        options.log_errors = False
        options.case_sensitive = not ignore_case
        options.max_mem = _MEMORY_BYTES
        expression = encoded if is_regex else re2.escape(encoded)
        try:
            # Checked alone first: `a)(b` must not pass as part of the group.
            re2.compile(expression, options)
            self._compiled = re2.compile(b"(?m:" + expression + b")", options)
        except re2.error as error:
            why = error.args[0] if error.args else "not a regular expression"
            said = why.decode(errors="replace") if isinstance(why, bytes) else str(why)
            raise InvalidInput(f"the pattern is not a regular expression that RE2 knows: {said}") from None

    def first(self, data: bytes, begin: int, end: int) -> Found | None:
        """The first match that lies in data[begin:end]; begin and end are borders of lines."""
        match = self._compiled.search(data, begin, end)
        return None if match is None else Found(*match.span())

    def each(self, data: bytes, begin: int, end: int, limit: int) -> list[Found]:
        """The first `limit` matches in data[begin:end] that are not empty."""
        found: list[Found] = []
        for match in self._matches(data, begin, end):
            if match.end > match.begin:
                found.append(match)
            if len(found) == limit:
                break
        return found

    def _matches(self, data: bytes, begin: int, end: int) -> Iterator[Found]:
        for match in self._compiled.finditer(data, begin, end):
            yield Found(*match.span())
