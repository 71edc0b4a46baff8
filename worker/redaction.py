"""Secret values replaced by `***` before anything touches the spool.

A value is found as it is and in the forms that programs print it in: JSON-escaped, URL-encoded, and as base64, alone or
inside a longer base64 text. What several matches cover together becomes one `***`, so that of two secrets that overlap
no part is left. The result does not depend on how the bytes were split over reads.

Not found: base64 broken into lines, other encodings (hexadecimal, base32), a value that the program splits itself. Of a
value inside a longer base64 text the characters that it shares with its neighbours stay: at most 4 bits at each end.
"""

from __future__ import annotations

import base64
import os
import stat
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from joblog.errors import InvalidInput

MASK = b"***"
MIN_VALUE_BYTES = 6
MAX_MASK_FILE_BYTES = 1 << 20
# encodeURIComponent and encodeURI of JavaScript leave these as they are.
_URL_SAFE_SETS = ("", "/", "!'()*", "!'()*;/?:@&=+$,#")


def mask_values(
    variables: Iterable[str], files: Iterable[Path], environment: Mapping[bytes, bytes]
) -> tuple[list[bytes], list[str]]:
    """(values, warnings): the values of the environment variables named and the lines of the files named.

    Raises InvalidInput for a variable that is not set, a file that can't be read and a value that is too short.
    """
    values: list[bytes] = []
    warnings: list[str] = []
    for name in variables:
        value = environment.get(os.fsencode(name))
        if value is None:
            raise InvalidInput(
                f"--mask-env {name}: no such variable in the environment; set it, or leave the option out"
            )
        values.append(check_value(value, f"--mask-env {name}"))
    for path in files:
        lines, mode = _read_lines(path)
        if mode & 0o077:
            warnings.append(f"{path}: others on this machine can read it (mode {mode:04o}); make it 0600")
        values += [check_value(line, f"{path}, line {number}") for number, line in enumerate(lines, 1) if line]
    return values, warnings


def _read_lines(path: Path) -> tuple[list[bytes], int]:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(MAX_MASK_FILE_BYTES + 1)
    except OSError as error:
        raise InvalidInput(f"--mask-file {path}: can't be read: {error.strerror}") from None
    if len(content) > MAX_MASK_FILE_BYTES:
        raise InvalidInput(
            f"--mask-file {path}: is longer than {MAX_MASK_FILE_BYTES} bytes; it should hold a value per line"
        )
    return [line.removesuffix(b"\r") for line in content.split(b"\n")], mode


def check_value(value: bytes, place: str) -> bytes:
    """Returns `value` when it is long enough to be masked; raises InvalidInput, which names `place`."""
    if len(value.strip()) < MIN_VALUE_BYTES:
        raise InvalidInput(
            f"{place}: a value of {len(value.strip())} bytes can't be masked: it would hide too much of the output; "
            f"at least {MIN_VALUE_BYTES} bytes are needed"
        )
    return value


class Masker:
    """Masks streams of bytes; each stream has a state of its own.

    secrets: values of at least 6 bytes, white space around them not counted; raises InvalidInput for a shorter one. A
    value of several lines is masked whole, and each of its lines of at least 6 bytes alone too.
    """

    def __init__(self, secrets: Iterable[bytes]) -> None:
        import ahocorasick_rs

        patterns: set[bytes] = set()
        for number, secret in enumerate(secrets, 1):
            patterns.update(_forms(check_value(secret, f"masked value {number}").strip()))
        self._patterns = sorted(patterns)
        self.longest_bytes = max(map(len, self._patterns), default=0)
        """No more than this less 1 is ever held back of a stream."""
        self._search = ahocorasick_rs.BytesAhoCorasick(self._patterns)
        heads = sorted({pattern[:MIN_VALUE_BYTES] for pattern in self._patterns})
        self._heads = ahocorasick_rs.BytesAhoCorasick(heads)
        # Each proper prefix that is shorter than a head.
        self._starts = frozenset(head[:length] for head in heads for length in range(1, MIN_VALUE_BYTES))
        self._held: dict[int, bytes] = {}
        # How many of a stream's held bytes belong to a match whose `***` is already out.
        self._masked: dict[int, int] = {}

    def feed(self, stream: int, data: bytes) -> bytes:
        """The stream's next bytes, masked, but for a tail that may be the start of a value.

        The tail is held until more bytes or `flush` tell, and not for a time: that would let a value through whose
        writer paused in its middle.
        """
        if not self._patterns:
            return data
        text = self._held.get(stream, b"") + data
        keep_from = self._pending_from(text)
        self._held[stream] = text[keep_from:]
        return self._emit(stream, text, keep_from)

    def flush(self, stream: int) -> bytes:
        """What was held back of a stream, masked: its end is reached."""
        return self._emit(stream, self._held.pop(stream, b""), None)

    def mask(self, text: bytes) -> bytes:
        """A whole text, masked; no stream is touched."""
        whole = -1
        return self.feed(whole, text) + self.flush(whole)

    def _emit(self, stream: int, text: bytes, keep_from: int | None) -> bytes:
        """The masked form of text[:keep_from]; sets how much of the rest is masked already."""
        end = len(text) if keep_from is None else keep_from
        masked = self._masked.pop(stream, 0)
        matches = self._search.find_matches_as_indexes(text, overlapping=True)
        if not matches and not masked:
            return text if end == len(text) else text[:end]
        pieces: list[bytes] = []
        done = 0
        for start, stop in _unions(masked, matches):
            goes_on = start == 0 and masked > 0
            if start >= end and not goes_on:
                break
            if not goes_on:
                pieces += (text[done:start], MASK)
            done = stop
        if done > end:
            self._masked[stream] = done - end
        else:
            pieces.append(text[done:end])
        return b"".join(pieces)

    def _pending_from(self, text: bytes) -> int:
        """Where the longest tail of `text` begins that is a proper prefix of a pattern; its end when there is none."""
        tail_from = max(0, len(text) - self.longest_bytes + 1)
        tail = text[tail_from:]
        for _, start, _ in self._heads.find_matches_as_indexes(tail, overlapping=True):
            suffix = tail[start:]
            at = bisect_right(self._patterns, suffix)
            if at < len(self._patterns) and self._patterns[at].startswith(suffix):
                return tail_from + start
        for length in range(min(MIN_VALUE_BYTES - 1, len(tail)), 0, -1):
            if tail[-length:] in self._starts:
                return len(text) - length
        return len(text)


def _unions(masked: int, matches: list[tuple[int, int, int]]) -> Iterator[tuple[int, int]]:
    """Ranges that overlapping matches cover together, in order; the first `masked` bytes count as a match."""
    spans = sorted((start, stop) for _, start, stop in matches)
    begin, end = 0, masked
    for start, stop in spans:
        if start < end:
            end = max(end, stop)
            continue
        if end:
            yield begin, end
        begin, end = start, stop
    yield begin, end


def _forms(value: bytes) -> Iterator[bytes]:
    """Everything to look for when `value` must not be seen."""
    lines = [line.strip() for line in value.splitlines()]
    for part in {value, value.replace(b"\r\n", b"\n"), value.replace(b"\n", b"\r\n"), *lines}:
        if len(part) < MIN_VALUE_BYTES:
            continue
        yield part
        yield from _base64_forms(part)
        yield from _url_forms(part)
        yield from _json_forms(part)


def _base64_forms(value: bytes) -> Iterator[bytes]:
    """The characters of a base64 text that `value` alone decides, wherever in a group of three it begins."""
    for before in range(3):
        coded = base64.b64encode(bytes(before) + value)
        first = (before * 8 + 5) // 6
        last = (before + len(value)) * 8 // 6
        inner = coded[first:last]
        yield inner
        yield inner.replace(b"+", b"-").replace(b"/", b"_")


def _url_forms(value: bytes) -> Iterator[bytes]:
    from urllib.parse import quote_from_bytes

    for safe in _URL_SAFE_SETS:
        coded = quote_from_bytes(value, safe=safe)
        for text in (coded, _lower_escapes(coded)):
            yield text.encode()
            yield text.replace("%20", "+").encode()


def _lower_escapes(coded: str) -> str:
    first, *rest = coded.split("%")
    return "%".join([first, *(part[:2].lower() + part[2:] for part in rest)])


def _json_forms(value: bytes) -> Iterator[bytes]:
    """As encoders write it: with or without escapes for what is not ASCII, for "/", and for "<", ">" and "&"."""
    import json

    try:
        text = value.decode()
    except UnicodeDecodeError:
        return
    for ascii_only in (True, False):
        coded = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
        escaped = coded.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
        for form in (coded, escaped):
            for variant in (form, _upper_escapes(form)):
                yield variant.encode()
                yield variant.replace("/", "\\/").encode()


def _upper_escapes(coded: str) -> str:
    import re

    return re.sub(r"(?<!\\)((?:\\\\)*\\u)([0-9a-f]{4})", lambda found: found[1] + found[2].upper(), coded)
