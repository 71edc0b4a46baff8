"""The `joblog` command line: every command, its help and its options.

A command's module is loaded when that command is typed, all of them only for help and completion: a start takes a third
of the time.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable
from typing import Annotated, NamedTuple

import typer

import joblog
from joblog.address import PLAINTEXT_VARIABLE
from joblog.errors import InvalidInput

_EPILOG = (
    "Exit codes: 0 done, 1 failed or not complete, 2 bad input, 3 not found, 4 the state does not allow it, 5 denied, "
    "6 corrupt, 7 unknown version, 8 out of space, 9 unreachable, 10 stopped before the end, 130 Ctrl-C, 141 nobody "
    "reads the log. `joblog run` ends with the exit code of its command, 128+n for signal n."
)

_LIGHT = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
_TASKS, _LOGS, _MACHINE = "Tasks", "Logs", "Leader and worker"


class _Command(NamedTuple):
    """Where a command is: a function of a module in joblog.cli, or that module's commands below one name."""

    module: str
    attribute: str
    panel: str


_COMMANDS = {
    "tasks": _Command("tasks", "app", _TASKS),
    "logs": _Command("reading", "logs", _LOGS),
    "ls": _Command("listing", "ls", _LOGS),
    "stat": _Command("listing", "stat", _LOGS),
    "search": _Command("searching", "search", _LOGS),
    "verify": _Command("verifying", "verify", _LOGS),
    "delete": _Command("deleting", "delete", _LOGS),
    "up": _Command("up", "up", _MACHINE),
    "status": _Command("status", "status", _MACHINE),
    "leader": _Command("daemons", "leader", _MACHINE),
    "worker": _Command("daemons", "worker", _MACHINE),
    "watch": _Command("daemons", "watch", _MACHINE),
    "keys": _Command("keys", "app", _MACHINE),
    "ui": _Command("browsing", "ui", _MACHINE),
    "login": _Command("logging_in", "login", _MACHINE),
    "logout": _Command("logging_in", "logout", _MACHINE),
    "whoami": _Command("logging_in", "whoami", _MACHINE),
    "token": _Command("tokens", "app", _MACHINE),
    "certificates": _Command("tokens", "certificates_app", _MACHINE),
    "audit": _Command("auditing", "app", _MACHINE),
    "adopt": _Command("adopting", "adopt", _MACHINE),
    "archive": _Command("archive", "app", _MACHINE),
    "backup": _Command("backups", "app", _MACHINE),
    "restore": _Command("restoring", "restore", _MACHINE),
    "retention": _Command("retaining", "app", _MACHINE),
    "hold": _Command("holding", "app", _MACHINE),
    "config": _Command("configuring", "app", _MACHINE),
    "doctor": _Command("diagnosing", "doctor", _MACHINE),
    "completion": _Command("configuring", "completion", _MACHINE),
}


def run_app(arguments: list[str]) -> int:
    """Runs a command line and returns its exit code; errors of joblog come out as they are."""
    typed = next((argument for argument in arguments if not argument.startswith("-")), "")
    app = command_line([typed] if typed in _COMMANDS else _COMMANDS)
    try:
        app(args=arguments, prog_name="joblog")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except ValueError as error:
        # What protobuf says of a number that the field of a message can't hold.
        what, _, number = str(error).rpartition(": ")
        if what != "Value out of range":
            raise
        raise InvalidInput(f"{number} is out of range: give a smaller number") from None
    return 0


def command_line(names: Iterable[str] = _COMMANDS) -> typer.Typer:
    """The command line with these of its commands, and those that start a task."""
    app = typer.Typer(
        name="joblog",
        help="Collects the output of jobs: every byte, exactly once, encrypted at rest, from one address.",
        epilog=_EPILOG,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(root)
    for name, function in (("run", run_task), ("pipe", pipe_task)):
        app.command(name, rich_help_panel=_TASKS, context_settings=_LIGHT, add_help_option=False)(function)
    for name in names:
        known = _COMMANDS[name]
        found = getattr(importlib.import_module(f"joblog.cli.{known.module}"), known.attribute)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name, rich_help_panel=known.panel)
        else:
            app.command(name, rich_help_panel=known.panel)(found)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"joblog {joblog.__version__}")
        raise typer.Exit


def root(
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
    plaintext: Annotated[
        bool,
        typer.Option(
            "--plaintext",
            help="Talk to a leader that was started with --plaintext: whoever is on the way sees logs and tokens.",
        ),
    ] = False,
) -> None:
    """Options that come before a command."""
    if plaintext:
        os.environ[PLAINTEXT_VARIABLE] = "1"


def run_task(context: typer.Context) -> None:
    """Run a command as a task and collect its output."""
    from joblog.worker.run import main

    raise typer.Exit(main(context.args))


def pipe_task(context: typer.Context) -> None:
    """Collect standard input as a task's output."""
    from joblog.worker.pipe import main

    raise typer.Exit(main(context.args))
