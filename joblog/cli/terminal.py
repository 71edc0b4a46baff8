r"""What a log may do to a terminal: nothing but print and colour.

Whoever can write a log could otherwise move the cursor over what stands there, set the title or the clipboard, make
the terminal answer as if its user had typed, or hide text from its reader. So on a terminal

- colours and the like (SGR, with parameters that are known) pass, and are reset at the end; so does `ESC ( B`, with
  which `tput sgr0` begins. `ESC [ K` right behind a colour, as grep and compilers write it, has nothing to erase here
  and is left out. Hidden text (8) and other fonts (10 to 19) do not pass;
- tab and newline pass. A carriage return that is not part of a line's end becomes a line's end: each state of a
  progress bar stands on a line of its own, and none can overwrite the start of a line;
- every other control character, ESC among them, is shown as `^[`, `^G`, `<U+009B>`, and what follows it is plain text;
  so are the characters that override the direction of text;
- bytes that are not UTF-8 are shown as `\x9b`: some terminals take them for 8-bit control characters.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import select
import sys
from types import TracebackType
from typing import Self

_MAX_SGR_CHARS = 64
_RESET = "\x1b[0m"
_RESETS = frozenset({"\x1b[m", _RESET})

_EXTENDED = r"[345]8(?:;5;\d{1,3}|;2;\d{1,3};\d{1,3};\d{1,3}|:5:\d{1,3}|:2:(?:\d{0,3}:)?\d{1,3}:\d{1,3}:\d{1,3})"
_PARAMETER = rf"(?:0{{0,2}}(?:[0-79]|2[1-9]|[34][0-79]|5[359]|9[0-7]|10[0-7])|4:[0-5]|{_EXTENDED})?"
_SGR = rf"\[(?=[0-9;:]{{0,{_MAX_SGR_CHARS}}}m){_PARAMETER}(?:;{_PARAMETER})*m"
_CONTROLS = r"\x00-\x08\x0b-\x1f\x7f"
_SUSPECT = rf"[{_CONTROLS}\x80-\x9f\u202a-\u202e\u2066-\u2069]"
_SUSPECT_TEXT = re.compile(_SUSPECT)
_CONTROL_BYTES = bytes(code for code in (*range(0x20), 0x7F) if code not in b"\t\n")
# It begins with a set of characters, by which the search for it is quick.
_STEERING = re.compile(
    rf"{_SUSPECT}(?:(?<=\x1b)(?:(?P<sgr>{_SGR})(?:\x1b\[0?K)?|(?P<ascii>\(B))?|(?<=\r)(?![\r\n])|(?<![\x1b\r]))",
    re.ASCII,
)
# What at the end of a piece may be the beginning of something that passes, or a line's end.
_UNFINISHED = re.compile(rf"(?:\x1b{_SGR})?(?:\x1b(?:\[[0-9;:]{{0,{_MAX_SGR_CHARS}}}|\()?)?\Z|\r\Z", re.ASCII)
_UNFINISHED_CHARS = 2 * (_MAX_SGR_CHARS + 4)


def _shown(char: str) -> str:
    code = ord(char)
    if code < 0x20:
        return f"^{chr(code + 0x40)}"
    return "^?" if code == 0x7F else f"<U+{code:04X}>"


class TerminalFilter:
    """Makes the bytes of a log fit for a terminal; the result does not depend on where they are cut.

    utf8: whether the terminal takes UTF-8; else whatever is not ASCII is shown as escapes.
    """

    def __init__(self, *, utf8: bool = True) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8" if utf8 else "ascii")("backslashreplace")
        self._encoding = "utf-8" if utf8 else "ascii"
        self._unfinished = ""
        self._before = "\n"
        self._coloured = False

    def feed(self, data: bytes) -> bytes:
        """What may be written for `data`. Less than a hundred characters of it may be kept for the next call."""
        if not data:
            return b""
        unfinished = self._unfinished or self._decoder.getstate()[0]
        # Several times as fast as a search for any of them.
        if not unfinished and data.isascii() and len(data.translate(None, _CONTROL_BYTES)) == len(data):
            self._before = "\n" if data.endswith(b"\n") else " "
            return data
        return self._encode(self._decoder.decode(data), final=False)

    def finish(self) -> bytes:
        """What was kept, and the end of colours that are still on."""
        left = self._encode(self._decoder.decode(b"", True), final=True)
        if self._coloured:
            self._coloured = False
            left += _RESET.encode()
        return left

    def _encode(self, text: str, *, final: bool) -> bytes:
        text = self._unfinished + text
        self._unfinished = ""
        if not text:
            return b""
        if _SUSPECT_TEXT.search(text):
            if not final:
                tail = text[-_UNFINISHED_CHARS:]
                match = _UNFINISHED.search(tail)
                if match is not None and match.group():
                    self._unfinished = match.group()
                    text = text[: -len(self._unfinished)]
                    if not text:
                        return b""
            # The character before decides what a carriage return at the start does.
            before, self._before = self._before, "\n" if text.endswith("\n") else " "
            text = _STEERING.sub(self._replace, before + text)[1:]
        else:
            self._before = "\n" if text.endswith("\n") else " "
        return text.encode(self._encoding, "backslashreplace")

    def _replace(self, match: re.Match[str]) -> str:
        kind = match.lastgroup
        if kind == "sgr":
            colour = f"\x1b{match['sgr']}"
            self._coloured = colour not in _RESETS
            return colour
        if kind == "ascii":
            return match[0]
        if match[0] == "\r":
            return "\r" if match.string[match.start() - 1] == "\n" else "\r\n"
        return _shown(match[0])


def shown_text(text: str) -> str:
    """One text as a terminal may have it; lines and colours pass."""
    if not _SUSPECT_TEXT.search(text):
        return text
    made = TerminalFilter()
    return (made.feed(text.encode(errors="backslashreplace")) + made.finish()).decode()


def takes_utf8() -> bool:
    """Whether this process's terminal takes UTF-8, as far as its locale says."""
    return codecs.lookup(sys.stdout.encoding or "utf-8").name == "utf-8"


def default_colours(fd: int) -> str:
    """What makes a terminal print in its own colours; empty where the descriptor is not one."""
    return _RESET if os.isatty(fd) else ""


def write_all(fd: int, data: bytes) -> None:
    """Writes all of data to a file descriptor; waits where it is one that does not block."""
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(fd, left) :]
        except BlockingIOError:
            select.select([], [fd], [])


class LogOutput:
    """Where the bytes of a log are printed: filtered on descriptors that are terminals, as they are on others.

    raw: as they are on terminals too. Used with `with`; at its end, whatever ends it, colours are reset.
    """

    def __init__(self, *, raw: bool = False) -> None:
        utf8 = takes_utf8()
        self._filters = {fd: TerminalFilter(utf8=utf8) for fd in (1, 2) if not raw and os.isatty(fd)}

    def write(self, fd: int, data: bytes) -> None:
        """Prints bytes on descriptor 1 or 2. Raises OSError."""
        shown = self._filters.get(fd)
        write_all(fd, data if shown is None else shown.feed(data))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for fd, shown in self._filters.items():
            with contextlib.suppress(OSError):
                write_all(fd, shown.finish())
