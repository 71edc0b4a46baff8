"""docs/cli.md, made from the commands themselves."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import typer

from joblog import errors
from joblog.cli.app import command_line

_HEAD = """\
# The command line

Made by `make docs` from the commands themselves. Every command has `--help`; `joblog completion SHELL` prints what
makes bash, zsh or fish complete them.

A log is named `RUN/TASK` or `RUN/TASK/ATTEMPT`; without an attempt the newest is meant. Names are 1 to 250 characters
of `A-Z a-z 0-9 . _ - : + = ~`, not starting with `.`; `@run` is the task name of a run's own log.

## Where the leader is found

`--leader HOST:PORT`, else the leader that runs in `--data-dir`, else `JOBLOG_LEADER`, else the one in the token of
`JOBLOG_TOKEN` or `JOBLOG_TOKEN_FILE`, else the leader that runs in `JOBLOG_DATA_DIR`, else the one in
`~/.local/share/joblog` (`$XDG_DATA_HOME/joblog`), else that of the last `joblog login`. A leader that runs keeps its
address in `leader/leader.json` of its data folder.

What it is shown: that token; for the leader of the data folder the admin token that lies there; else what `joblog
login` keeps. Whom to trust comes from the same place. `joblog --plaintext COMMAND` or `JOBLOG_PLAINTEXT=1` for a leader
that was started with `--plaintext`."""

_EXIT_CODES = {
    "0": "done; for `verify`: complete",
    "1": "failed; for `verify`: not complete; for `doctor`: a problem; for `up`: leader or worker ended by itself",
    "130": "ended by Ctrl-C",
    "141": "`logs`: nobody reads the output any more",
}
_VALUE_TWICE = re.compile(r"(--[\w-]+) (\S+), (-\w) \2")
_EXIT_TAIL = """\
`joblog run` and `joblog pipe` end with the exit code of the task, 128+n where signal n ended it; where the task could
not be started, with 126 or 127, as a shell does."""


def cli_page() -> str:
    """The whole page."""
    root: Any = typer.main.get_command(command_line())
    parts = [_HEAD, "## Exit codes", _exit_codes(), _EXIT_TAIL]
    for path, command in sorted(_commands(root, ["joblog"])):
        parts += [f"## {path}", *_command(path, command)]
    return "\n\n".join(parts) + "\n"


def _commands(group: Any, path: list[str]) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, [*path, name])
        elif not command.hidden:
            yield " ".join([*path, name]), command


def _exit_codes() -> str:
    rows = dict(_EXIT_CODES)
    for kind in vars(errors).values():
        known = isinstance(kind, type) and issubclass(kind, errors.JoblogError) and kind is not errors.JoblogError
        if known and "exit_code" in vars(kind):
            about = inspect.cleandoc(kind.__doc__ or "").split("\n")[0].rstrip(".")
            rows[str(kind.exit_code)] = about[:1].lower() + about[1:]
    lines = [f"| {code} | {rows[code]} |" for code in sorted(rows, key=int)]
    return "\n".join(["| code | meaning |", "| --- | --- |", *lines])


def _command(path: str, command: Any) -> Iterator[str]:
    if command.context_settings.get("allow_extra_args"):
        yield f"```text\n{_own_help(path.split()[1:])}\n```"
        return
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and not p.hidden and p.name != "help"]
    usage = [path, *(_argument_name(one) for one in arguments), "[options]" if options else ""]
    yield f"`{' '.join(filter(None, usage))}`"
    yield inspect.cleandoc(command.help or "")
    rows = [(_argument_name(one), one) for one in arguments] + [(_option_names(one), one) for one in options]
    lines = ["| `{}` | {} |".format(name.replace("|", "\\|"), _about(one)) for name, one in rows]
    if lines:
        yield "\n".join(["| option | what it does |", "| --- | --- |", *lines])


def _argument_name(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def _option_names(option: Any) -> str:
    names = ", ".join(sorted(option.opts, key=len))
    return f"{names} {option.metavar or ''}".strip()


def _about(parameter: Any) -> str:
    text = (parameter.help or "").replace("|", "\\|")
    default = parameter.default
    if default is None or default is False or default == "" or callable(default) or parameter.required:
        return text
    return f"{text} Default: `{getattr(default, 'value', default)}`."


def _own_help(arguments: list[str]) -> str:
    """What a command prints that reads its arguments itself."""
    command = [sys.executable, "-P", "-m", "joblog.cli.main", *arguments, "--help"]
    environment = {**os.environ, "COLUMNS": "110", "NO_COLOR": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    # Newer Pythons name an option's value once, older ones behind each of its names.
    return _VALUE_TWICE.sub(r"\1, \3 \2", done.stdout).strip()
