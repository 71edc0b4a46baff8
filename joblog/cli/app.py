"""The `joblog` command line: every command, its help and its options."""

from __future__ import annotations

import os
from typing import Annotated

import typer

import joblog
from joblog.address import PLAINTEXT_VARIABLE
from joblog.cli import (
    archive,
    auditing,
    browsing,
    configuring,
    daemons,
    deleting,
    diagnosing,
    keys,
    listing,
    logging_in,
    reading,
    searching,
    status,
    tasks,
    tokens,
    verifying,
)
from joblog.cli import up as upping

_EPILOG = (
    "Exit codes: 0 done, 1 failed or not complete, 2 bad input, 3 not found, 4 the state does not allow it, 5 denied, "
    "6 corrupt, 7 unknown version, 8 out of space, 9 unreachable, 10 stopped before the end, 130 Ctrl-C, 141 nobody "
    "reads the log. `joblog run` ends with the exit code of its command, 128+n for signal n."
)

app = typer.Typer(
    name="joblog",
    help="Collects the output of jobs: every byte, exactly once, encrypted at rest, from one address.",
    epilog=_EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_LIGHT = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
_TASKS, _LOGS, _MACHINE = "Tasks", "Logs", "Leader and worker"


def run_app(arguments: list[str]) -> int:
    """Runs a command line and returns its exit code; errors of joblog come out as they are."""
    try:
        app(args=arguments, prog_name="joblog")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    return 0


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"joblog {joblog.__version__}")
        raise typer.Exit


@app.callback()
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


@app.command(name="run", rich_help_panel=_TASKS, context_settings=_LIGHT, add_help_option=False)
def run_task(context: typer.Context) -> None:
    """Run a command as a task and collect its output."""
    from joblog.worker.run import main

    raise typer.Exit(main(context.args))


@app.command(name="pipe", rich_help_panel=_TASKS, context_settings=_LIGHT, add_help_option=False)
def pipe_task(context: typer.Context) -> None:
    """Collect standard input as a task's output."""
    from joblog.worker.pipe import main

    raise typer.Exit(main(context.args))


app.add_typer(tasks.app, name="tasks", rich_help_panel=_TASKS)
app.command(name="logs", rich_help_panel=_LOGS)(reading.logs)
app.command(name="ls", rich_help_panel=_LOGS)(listing.ls)
app.command(name="stat", rich_help_panel=_LOGS)(listing.stat)
app.command(name="search", rich_help_panel=_LOGS)(searching.search)
app.command(name="verify", rich_help_panel=_LOGS)(verifying.verify)
app.command(name="delete", rich_help_panel=_LOGS)(deleting.delete)
app.command(name="up", rich_help_panel=_MACHINE)(upping.up)
app.command(name="status", rich_help_panel=_MACHINE)(status.status)
app.command(name="leader", rich_help_panel=_MACHINE)(daemons.leader)
app.command(name="worker", rich_help_panel=_MACHINE)(daemons.worker)
app.add_typer(keys.app, name="keys", rich_help_panel=_MACHINE)
app.command(name="ui", rich_help_panel=_MACHINE)(browsing.ui)
app.command(name="login", rich_help_panel=_MACHINE)(logging_in.login)
app.command(name="logout", rich_help_panel=_MACHINE)(logging_in.logout)
app.command(name="whoami", rich_help_panel=_MACHINE)(logging_in.whoami)
app.add_typer(tokens.app, name="token", rich_help_panel=_MACHINE)
app.add_typer(tokens.certificates_app, name="certificates", rich_help_panel=_MACHINE)
app.add_typer(auditing.app, name="audit", rich_help_panel=_MACHINE)
app.add_typer(archive.app, name="archive", rich_help_panel=_MACHINE)
app.add_typer(configuring.app, name="config", rich_help_panel=_MACHINE)
app.command(name="doctor", rich_help_panel=_MACHINE)(diagnosing.doctor)
app.command(name="completion", rich_help_panel=_MACHINE)(configuring.completion)
