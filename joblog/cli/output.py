"""How the command line prints: consoles, JSON, tables, progress."""

from __future__ import annotations

import json
import os
import re
import sys
from typing import IO, Any, cast

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from joblog.cli.terminal import shown_text


class _Shown:
    """A stream on which what is printed can colour a terminal, and not steer it, wherever the text came from."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write(shown_text(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _ShownConsole(Console):
    """A console whose streams are found at each call, as rich does, and filtered."""

    @property
    def file(self) -> IO[str]:
        """Where it prints."""
        return cast("IO[str]", _Shown(super().file))

    @file.setter
    def file(self, new_file: IO[str]) -> None:
        self._file = new_file


out = _ShownConsole(highlight=False, soft_wrap=True)
err = _ShownConsole(stderr=True, highlight=False, soft_wrap=True)
# What moves the cursor itself; the texts in it are printable().
progress_console = Console(stderr=True, highlight=False, soft_wrap=True)

_UNSAFE_IN_JSON = re.compile("[\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
# Of tables: more than any has.
_TABLE_WIDTH = 10_000
_STYLES = {"live": "cyan", "completed": "green", "succeeded": "green", "interrupted": "yellow", "failed": "red"}


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    _write_json(json.dumps(value, indent=2, ensure_ascii=False))


def print_json_line(value: Any) -> None:
    """The same on one line, where several follow one another."""
    _write_json(json.dumps(value, ensure_ascii=False))


def _write_json(text: str) -> None:
    # JSON lets some controls through as they are.
    sys.stdout.write(_UNSAFE_IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + "\n")
    sys.stdout.flush()


def table(*columns: str) -> Table:
    """A plain table; a column whose name starts with ">" is aligned to the right."""
    made = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for column in columns:
        made.add_column(column.lstrip(">"), justify="right" if column.startswith(">") else "left", no_wrap=True)
    return made


def print_table(shown: Table) -> None:
    """A table on stdout, at its own width: what does not fit on the terminal is never cut off."""
    Console(file=out.file, highlight=False, width=_TABLE_WIDTH).print(shown)


def styled(state: str) -> str:
    """A state in the colour that it has everywhere."""
    style = _STYLES.get(state)
    return f"[{style}]{state}[/{style}]" if style else state


def bytes_progress() -> Progress:
    """A progress bar over bytes on stderr, which is there on a terminal only."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=progress_console,
        transient=True,
        disable=not os.isatty(2),
    )
