"""Writes what is made from the code: config/*.toml, docs/settings.md and docs/cli.md.

Usage: python docs/generate.py [--check]; with --check nothing is written, and the exit code is 1 when a file is not
what it would be.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from joblog.cli.reference import cli_page
from joblog.leader.settings import LeaderSettings
from joblog.settings import Declared, declared, sections
from joblog.values import allowed, show
from joblog.worker.settings import WorkerSettings

ROOT = Path(__file__).parent.parent
PROGRAMS: dict[str, type[Any]] = {"leader": LeaderSettings, "worker": WorkerSettings}
COMMANDS = {"leader": "`joblog leader`", "worker": "`joblog worker`, `joblog run` and `joblog pipe`"}


SETTINGS_HEAD = """\
A file is overridden by variables, and both by flags (`--set KEY=VALUE`). An empty variable counts as not set; a list
in a variable is separated by commas. A size is a number of bytes, or a text such as `64MiB`. Secrets are not taken
from flags, and from a file only when nobody else may read it. `joblog config show` prints what is in force, and where
each value comes from."""


def _comment(text: str) -> str:
    return textwrap.fill(text, 110, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


def _must(item: Declared) -> str:
    words = allowed(item.rule)
    return words[:1].upper() + words[1:]


def sample(program: str) -> str:
    """The commented sample settings of a program: every setting with what it does, its default, unit and variable."""
    kind = PROGRAMS[program]
    head = (
        f"Settings of {COMMANDS[program]}. Read from the file that --config or JOBLOG_{program.upper()}_CONFIG names, "
        f"else from ~/.config/joblog/{program}.toml, else from /etc/joblog/{program}.toml. Every setting is shown with "
        "its default. Variables (JOBLOG_...) override this file, flags override both."
    )
    parts = [_comment(head)]
    groups = sections(kind)
    open_section = ""
    for item in declared(kind):
        name, _, last = item.key.rpartition(".")
        if name != open_section:
            parts.append(f"{_comment(groups[name])}\n[{name}]")
            open_section = name
        unit = f", unit: {item.rule.unit}" if item.rule.unit else ""
        about = f"{_must(item)}. Default: {show(item.rule, item.default)}{unit}. Variable: {item.variable}"
        parts.append(f"{_comment(item.rule.doc)}\n{_comment(about)}\n# {last} = {show(item.rule, item.default)}")
    return "\n\n".join(parts) + "\n"


def _rows(kind: type[Any]) -> Iterator[str]:
    for item in declared(kind):
        cells = (
            f"`{item.key}`",
            item.rule.doc,
            _must(item),
            f"`{show(item.rule, item.default)}`",
            f"`{item.variable}`",
        )
        yield f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


def settings_page() -> str:
    """docs/settings.md."""
    parts = [
        "# Settings",
        "Made by `make docs` from the declarations in `leader/settings.py` and `worker/settings.py`.",
        SETTINGS_HEAD,
    ]
    for program, kind in PROGRAMS.items():
        parts.append(f"## {program.capitalize()}")
        parts.append(f"`config/{program}.toml`: for {COMMANDS[program]}.")
        head = "| key | what it does | allowed | default | variable |\n| --- | --- | --- | --- | --- |"
        parts.append("\n".join([head, *_rows(kind)]))
    return "\n\n".join(parts) + "\n"


def documents() -> dict[Path, str]:
    """Every file that is made, and what is in it."""
    files = {ROOT / "config" / f"{program}.toml": sample(program) for program in PROGRAMS}
    return files | {ROOT / "docs" / "settings.md": settings_page(), ROOT / "docs" / "cli.md": cli_page()}


def main(arguments: list[str]) -> int:
    """Writes or checks; returns the exit code."""
    stale = [
        file for file, text in documents().items() if not file.exists() or file.read_text(encoding="utf-8") != text
    ]
    for file in stale:
        if "--check" in arguments:
            print(f"{file.relative_to(ROOT)}: is not what the declarations say: run `make docs`", file=sys.stderr)
        else:
            file.write_text(documents()[file], encoding="utf-8")
            print(f"wrote {file.relative_to(ROOT)}")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
