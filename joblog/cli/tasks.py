"""`joblog tasks`: the tasks on this machine, seen through the worker's control socket; no leader is needed."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from joblog.cli.options import DEFAULT, AsJson, DataDir, Namespace, Raw, chosen_data_dir
from joblog.cli.output import err, print_json, print_table, styled, table
from joblog.cli.terminal import LogOutput
from joblog.cli.words import bytes_text, printable
from joblog.errors import NotFound
from joblog.identity import parse_log_path

if TYPE_CHECKING:
    from pathlib import Path

    from joblog.worker.control.client import ControlClient

app = typer.Typer(help="Tasks on this machine: list, signal, attach.", no_args_is_help=True)

TaskName = Annotated[
    str,
    typer.Argument(metavar="RUN/TASK[/ATTEMPT]|ID", help="A task of this machine, or its id in `joblog tasks list`."),
]
_SUPERVISOR_DIED = 4
_STDERR = 2


def open_control(data_dir: Path | None) -> ControlClient:
    """A client for the worker of the data folder that the option names."""
    from joblog.worker.control.client import ControlClient, socket_path

    return ControlClient(socket_path(chosen_data_dir(data_dir)))


def find_task(client: ControlClient, name: str, namespace: str) -> dict[str, Any]:
    """The task of that id or, of those of that name, the newest. Raises InvalidInput, NotFound."""
    tasks = client.list()
    if "/" in name:
        wanted = parse_log_path(name, namespace)
        # An attempt that the leader gave is not known here.
        found = [
            task
            for task in tasks
            if (task["namespace"], task["run"], task["task"]) == wanted[:3] and wanted.attempt in (0, task["attempt"])
        ]
    else:
        found = [task for task in tasks if task["spool_id"] == name]
    if not found:
        raise NotFound(
            f"no task {name[:100]!r} on this machine: `joblog tasks list` shows those that are not shipped yet"
        )
    return found[-1]


@app.command(name="list")
def list_tasks(as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """List the tasks that run on this machine, and those that have ended but are not wholly with the leader."""
    tasks = open_control(data_dir).list()
    if as_json:
        print_json(tasks)
        return
    shown = table("ID", "TASK", "STATE", ">PID", ">BYTES", ">TO SHIP")
    for task in tasks:
        shown.add_row(
            task["spool_id"],
            escape(f"{task['run']}/{task['task']}") if task["run"] else "(sealed, its key is with the leader)",
            styled("live") if task["running"] else "ended",
            str(task["task_pid"] or ""),
            bytes_text(task["length_bytes"]),
            bytes_text(max(0, task["length_bytes"] - task["acked_bytes"])),
        )
    print_table(shown)
    for task in tasks:
        if task.get("waits"):
            name = f"{task['run']}/{task['task']} ({task['spool_id']})"
            err.print(f"{printable(name)} waits: {printable(task['waits'])}", markup=False)


@app.command(name="signal")
def signal_task(
    task: TaskName,
    signal: Annotated[str, typer.Argument(metavar="SIGNAL", help="As TERM, SIGTERM or 15.")] = "TERM",
    *,
    namespace: Namespace = DEFAULT,
    data_dir: DataDir = None,
) -> None:
    """Send a signal to a task's process group. After TERM, INT, HUP or QUIT it has its grace, and is killed then."""
    from joblog.worker.tasks import parse_signal

    number = parse_signal(signal)
    client = open_control(data_dir)
    client.signal(find_task(client, task, namespace)["spool_id"], number)


@app.command(name="attach")
def attach(
    task: TaskName,
    from_offset: Annotated[int, typer.Option("--from", metavar="OFFSET", min=0, help="Begin at this offset.")] = 0,
    *,
    raw: Raw = False,
    namespace: Namespace = DEFAULT,
    data_dir: DataDir = None,
) -> None:
    """Show a task's output as it comes, stdout on stdout and stderr on stderr; end with the task's exit code.

    On a terminal only colours pass, as with `joblog logs`.
    """
    client = open_control(data_dir)
    spool_id = find_task(client, task, namespace)["spool_id"]
    with LogOutput(raw=raw) as output:
        for message in client.attach(spool_id, from_offset):
            if "frame" in message:
                fd = 2 if message["frame"]["stream"] == _STDERR else 1
                output.write(fd, base64.b64decode(message["frame"]["data"]))
            elif "gap" in message:
                gap = message["gap"]
                err.print(
                    f"joblog: {gap['length']:,} bytes missing at offset {gap['offset']}: {gap['reason']}", markup=False
                )
            else:
                raise typer.Exit(_exit_code(message["end"]["outcome"]))


def _exit_code(outcome: dict[str, Any]) -> int:
    if outcome.get("kind") == _SUPERVISOR_DIED:
        err.print("joblog: the task's supervisor died: how the task ended is not known", markup=False)
        return 1
    return int(outcome.get("exit_code", 1))
