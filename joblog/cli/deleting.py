"""`joblog delete`: takes logs away for good."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.markup import escape

from joblog.cli.options import DEFAULT, AsJson, DataDir, Leader, Namespace, open_client, parse_target
from joblog.cli.output import out, print_json
from joblog.cli.words import bytes_text
from joblog.client import Client
from joblog.errors import Interrupted, InvalidInput, NotFound
from joblog.identity import LogName
from joblog.v1 import types_pb2


def delete(
    path: Annotated[str, typer.Argument(metavar="RUN[/TASK[/ATTEMPT]]", help="What to delete.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
    namespace: Namespace = DEFAULT,
    leader: Leader = None,
    data_dir: DataDir = None,
) -> None:
    """Delete a run, a task's logs or one log, with their keys: no copy can be read then, but in backups made before.

    The text of adopted logs stays where it lies: what is deleted is what joblog knows of them.
    """
    target = parse_target(path, namespace)
    with open_client(leader, data_dir) as client:
        logs = _logs_of(client, target)
        size = sum(log.next_offset for log in logs)
        if not yes:
            _ask(target, logs, size)
        reply = client.delete(target.run, target.namespace, task=target.task, attempt=target.attempt)
    if as_json:
        print_json({"logs_deleted": reply.logs_deleted, "bytes_deleted": reply.bytes_deleted})
    else:
        out.print(f"{reply.logs_deleted} logs deleted, {bytes_text(reply.bytes_deleted)}")


def _logs_of(client: Client, target: LogName) -> list[types_pb2.LogRecord]:
    records = client.logs(target.run, target.namespace, task=target.task)
    logs = [record for record in records if target.attempt in (0, record.id.attempt)]
    if not logs:
        raise NotFound(f"no log {target} is there: `joblog ls` lists what is")
    return logs


def _ask(target: LogName, logs: Sequence[types_pb2.LogRecord], size_bytes: int) -> None:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise InvalidInput(f"deleting {path_text(target)} needs a yes, and there is no terminal to ask on: give --yes")
    live = sum(log.state == types_pb2.LOG_STATE_LIVE for log in logs)
    what = f"{len(logs)} logs, {bytes_text(size_bytes)}" + (f", {live} of them live" if live else "")
    if adopted := sum(log.HasField("adopted") for log in logs):
        what += f"; {adopted} were adopted, and their text stays where it lies"
    if not typer.confirm(f"Delete {escape(path_text(target))} ({what}) for good?", err=True):
        raise Interrupted("nothing was deleted")


def path_text(target: LogName) -> str:
    """A target as it is written on the command line."""
    parts = [target.run, target.task, str(target.attempt or "")]
    return "/".join(part for part in parts if part)
