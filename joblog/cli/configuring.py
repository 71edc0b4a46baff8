"""`joblog config show` and `joblog completion`."""

from __future__ import annotations

import enum
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from joblog import paths
from joblog.cli.daemons import Config, Set, collect_flags
from joblog.cli.options import AsJson, DataDir
from joblog.cli.output import out, print_json, print_table, table
from joblog.errors import InvalidInput
from joblog.settings import Effective, effective, load

app = typer.Typer(name="config", help="Settings of the daemons.", no_args_is_help=True)


class Program(enum.StrEnum):
    """Whose settings."""

    LEADER = "leader"
    WORKER = "worker"


@app.callback()
def root() -> None:
    """Settings of the daemons."""


@app.command()
def show(
    program: Annotated[
        Program | None, typer.Argument(metavar="[leader|worker]", help="Only this daemon's.", show_default=False)
    ] = None,
    config: Config = None,
    assignments: Set = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Print the settings in force, secrets masked, and where each is from: file, variable, command line or default."""
    if config is not None and program is None:
        raise InvalidInput(
            f"--config {config} is one daemon's file: say whose, `joblog config show leader --config FILE`"
        )
    programs = [program] if program else list(Program)
    found = {one.value: _effective(one, config, assignments, data_dir) for one in programs}
    if as_json:
        print_json({name: [_as_dict(item) for item in items] for name, items in found.items()})
        return
    for name, items in found.items():
        out.print(f"[bold]# {name}[/bold]")
        shown = table("SETTING", "VALUE", "FROM")
        for item in items:
            shown.add_row(escape(item.key), escape(item.value), escape(item.source))
        print_table(shown)


def _effective(
    program: Program, config: Path | None, assignments: list[str] | None, data_dir: Path | None
) -> list[Effective]:
    flags = collect_flags(assignments, {"data_dir": data_dir})
    file = paths.config_file(program.value, config, os.environ)
    if program is Program.LEADER:
        from joblog.leader.settings import LeaderSettings

        return effective(load(LeaderSettings, file=file, environ=os.environ, flags=flags))
    from joblog.worker.settings import WorkerSettings

    return effective(load(WorkerSettings, file=file, environ=os.environ, flags=flags))


def _as_dict(item: Effective) -> dict[str, Any]:
    return {
        "key": item.key,
        "value": item.value,
        "default": item.default,
        "source": item.source,
        "unit": item.rule.unit,
        "doc": item.rule.doc,
    }


class Shell(enum.StrEnum):
    """A shell that can be taught to complete."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(shell: Annotated[Shell, typer.Argument(metavar="bash|zsh|fish", help="Shell to complete in.")]) -> None:
    """Print a script that makes a shell complete what is typed after `joblog`.

    For bash: put `source <(joblog completion bash)` into ~/.bashrc.
    """
    from joblog.cli.app import command_line

    # How the library is asked for the script; it ends the program once it is printed.
    os.environ["_JOBLOG_COMPLETE"] = f"source_{shell.value}"
    command_line()(args=[], prog_name="joblog")
