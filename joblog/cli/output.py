"""How the command line prints: consoles, JSON, tables, progress."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

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

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

# Of tables: more than any has.
_TABLE_WIDTH = 10_000
_STYLES = {"live": "cyan", "completed": "green", "succeeded": "green", "interrupted": "yellow", "failed": "red"}


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
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
        console=err,
        transient=True,
        disable=not os.isatty(2),
    )
