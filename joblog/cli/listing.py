"""`joblog ls` and `joblog stat`: what is there, and what is known of it."""

from __future__ import annotations

import enum
import shlex
import time
from collections.abc import Iterator, Sequence
from typing import Annotated

import typer
from rich.markup import escape

from joblog.cli.options import DEFAULT, AsJson, DataDir, Leader, LogPath, Namespace, open_client
from joblog.cli.output import out, print_json, print_table, styled, table
from joblog.cli.words import (
    as_dict,
    bytes_text,
    duration_text,
    log_state,
    outcome_text,
    printable,
    run_state,
    time_text,
)
from joblog.client import Client
from joblog.death import last_death, parse_death
from joblog.errors import InvalidInput, NotFound
from joblog.formats import gap_reason, rfc3339_nano
from joblog.identity import check_name, parse_log_path
from joblog.v1 import logs_pb2, types_pb2


class StateName(enum.StrEnum):
    """A run's state."""

    LIVE = "live"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


RUN_STATES = {
    StateName.LIVE: types_pb2.RUN_STATE_LIVE,
    StateName.SUCCEEDED: types_pb2.RUN_STATE_SUCCEEDED,
    StateName.FAILED: types_pb2.RUN_STATE_FAILED,
    StateName.INTERRUPTED: types_pb2.RUN_STATE_INTERRUPTED,
}


def ls(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN[/TASK]]", help="List the logs of a run, or of a task.")
    ] = None,
    *,
    state: Annotated[
        list[StateName] | None,
        typer.Option(
            "--state", metavar="live|succeeded|failed|interrupted", help="Only runs in this state; repeatable."
        ),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", "-l", metavar="KEY=VALUE", help="Only runs with this label; repeatable."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=0, help="At most N runs; 0 is all.")] = 100,
    namespaces: Annotated[bool, typer.Option("--namespaces", help="List the namespaces.")] = False,
    as_json: AsJson = False,
    namespace: Namespace = DEFAULT,
    leader: Leader = None,
    data_dir: DataDir = None,
) -> None:
    """List the runs of a namespace, newest first, or the logs of one run."""
    with open_client(leader, data_dir) as client:
        if namespaces:
            _print_namespaces(client, as_json)
        elif run is not None:
            name, _, task = run.partition("/")
            logs = list(client.logs(name, namespace, task=task))
            if task and not logs:
                raise NotFound(f"run {name} has no task {task}: `joblog ls {name}` lists what it has")
            _print_logs(logs, as_json)
        else:
            states = [RUN_STATES[one] for one in state or []]
            labels = parse_labels(label or [])
            _print_runs(client.runs(namespace, states=states, labels=labels, limit=limit), as_json)


def parse_labels(given: list[str]) -> dict[str, str]:
    """KEY=VALUE, one or more, as a mapping; raises InvalidInput."""
    labels = {}
    for one in given:
        key, equals, value = one.partition("=")
        if not equals:
            raise InvalidInput(f"label {one[:60]!r} is not KEY=VALUE")
        labels[check_name("label", key)] = value
    return labels


def _print_namespaces(client: Client, as_json: bool) -> None:
    # Those of joblog's own are for who asks for them by name.
    names = [name for name in client.namespaces() if not name.startswith("@")]
    if as_json:
        print_json(names)
    else:
        for name in names:
            out.print(name, markup=False)


def _print_runs(runs: Iterator[types_pb2.RunRecord], as_json: bool) -> None:
    if as_json:
        print_json([as_dict(run) for run in runs])
        return
    shown = table("RUN", "STATE", "STARTED", ">LOGS", ">LIVE", ">FAILED", "LABELS")
    for run in runs:
        logs = run.logs_live + run.logs_completed + run.logs_interrupted
        labels = " ".join(f"{key}={value}" for key, value in sorted(run.labels.items()))
        shown.add_row(
            escape(run.run),
            styled(run_state(run.state)),
            time_text(run.created_ns),
            str(logs),
            str(run.logs_live),
            str(run.tasks_failed),
            escape(printable(labels)),
        )
    print_table(shown)


def _print_logs(logs: list[types_pb2.LogRecord], as_json: bool) -> None:
    if as_json:
        print_json([as_dict(log) for log in logs])
        return
    shown = table(
        "TASK", ">ATTEMPT", "STATE", "RESULT", ">BYTES", ">LINES", ">MISSING", "ARCHIVE", "STARTED", ">TOOK", "HOST"
    )
    for log in logs:
        shown.add_row(
            escape(log.id.task),
            str(log.id.attempt),
            styled(log_state(log.state)),
            outcome_text(log.outcome),
            bytes_text(log.next_offset),
            f"{log.newlines:,}",
            missing_text(log),
            archive_text(log),
            time_text(log.start.started_ns or log.created_ns),
            took_text(log),
            escape(printable(log.start.host)),
        )
    print_table(shown)


def gaps_of(log: types_pb2.LogRecord) -> Sequence[types_pb2.Gap]:
    """Ranges of the log that are not there."""
    return log.gaps or log.seal.gaps


def missing_text(log: types_pb2.LogRecord) -> str:
    """How many bytes of the log are not there; empty for none."""
    missing = sum(gap.length for gap in gaps_of(log))
    return bytes_text(missing) if missing else ""


def archive_text(log: types_pb2.LogRecord) -> str:
    """How far the log is archived: sealed, a number of bytes, or empty where nothing is."""
    if log.state == types_pb2.LOG_STATE_COMPLETED and log.tier == types_pb2.TIER_ARCHIVE:
        return "sealed"
    return bytes_text(log.archived_offset) if log.archived_offset else ""


def took_text(log: types_pb2.LogRecord) -> str:
    """How long a task took, or has been running."""
    start = log.start.started_ns or log.created_ns
    end = log.outcome.ended_ns or log.completed_ns
    if not end:
        end = time.time_ns() if log.state == types_pb2.LOG_STATE_LIVE else log.last_append_ns
    return duration_text(max(0, end - start) / 1e9) if start and end else ""


def stat(
    path: LogPath,
    as_json: AsJson = False,
    namespace: Namespace = DEFAULT,
    leader: Leader = None,
    data_dir: DataDir = None,
) -> None:
    """Print what is known of a log: its record, result, seal, gaps and events."""
    name = parse_log_path(path, namespace)
    with open_client(leader, data_dir) as client:
        reply = client.log(name)
    if as_json:
        print_json(as_dict(reply))
        return
    for key, value in _facts(reply.log):
        out.print(f"[bold]{key:<12}[/bold] {escape(printable(value))}")
    if reply.HasField("verified"):
        out.print(f"[bold]{'verified':<12}[/bold] {escape(printable(verified_text(reply.verified, time.time_ns())))}")
    for gap in gaps_of(reply.log):
        out.print(
            f"[bold]{'gap':<12}[/bold] {gap.length:,} bytes missing at offset {gap.offset}: {gap_reason(gap.reason)}"
        )
    found = last_death(reply.events)
    if found is not None:
        out.print(f"[bold]{'died':<12}[/bold] {escape(printable(found[1].text()))}")
    for key, value in kept_facts(reply.kept) if reply.HasField("kept") else ():
        out.print(f"[bold]{key:<12}[/bold] {escape(printable(value))}")
    _print_events(reply)


def verified_text(found: types_pb2.Verification, now_ns: int) -> str:
    """When a log was verified, what was found, and whether that still holds."""
    ago = duration_text(max(0, now_ns - found.ended_ns) / 1e9)
    since = f"; since then {found.outdated}: verify it again" if found.outdated else ""
    return f"{time_text(found.ended_ns)}, {ago} ago: {found.says}{since}"


def kept_facts(kept: types_pb2.Kept) -> Iterator[tuple[str, str]]:
    """What a person wants to know of how long something is kept."""
    if kept.held_by:
        yield "on hold", ", ".join(kept.held_by)
    if kept.policy:
        yield "policy", kept.policy
    if kept.due_ns:
        yield "due", rfc3339_nano(kept.due_ns)
    yield "kept", kept.says


def _facts(log: types_pb2.LogRecord) -> Iterator[tuple[str, str]]:
    """What a person wants to know of a log, in order; what has no value is left out."""
    ident, start, outcome = log.id, log.start, log.outcome
    facts = {
        "namespace": ident.namespace,
        "log": f"{ident.run}/{ident.task}/{ident.attempt}",
        "state": log_state(log.state),
        "command": shlex.join(start.command),
        "host": start.host,
        "folder": start.cwd,
        "labels": " ".join(f"{key}={value}" for key, value in sorted(start.labels.items())),
        "worker": start.worker_id,
        "started": rfc3339_nano(start.started_ns) if start.started_ns else "",
        "ended": rfc3339_nano(outcome.ended_ns) if outcome.ended_ns else "",
        "took": took_text(log),
        "result": " ".join(filter(None, [outcome_text(outcome), outcome.message])),
        "CPU time": duration_text(outcome.cpu_seconds) if outcome.ended_ns else "",
        "peak memory": bytes_text(outcome.peak_memory_bytes) if outcome.peak_memory_bytes else "",
        "length": f"{log.next_offset:,} bytes, {log.newlines:,} lines",
        "kept from": f"offset {log.first_offset}" if log.first_offset else "",
        "on disk": f"{bytes_text(log.stored_bytes)}" if log.stored_bytes else "",
        "archive": archive_text(log),
        "adopted": _adopted_text(log.adopted) if log.HasField("adopted") else "",
        "missing": missing_text(log),
        "sha256": log.seal.sha256.hex(),
    }
    return ((key, value) for key, value in facts.items() if value)


def _adopted_text(adopted: types_pb2.Adopted) -> str:
    packed = ", gzip" if adopted.gzip else ""
    return f"from {adopted.url} ({adopted.bytes:,} bytes{packed}), where its text stays"


def _print_events(reply: logs_pb2.GetLogResponse) -> None:
    for event in reply.events:
        if parse_death(event) is not None:
            continue
        text = f"{rfc3339_nano(event.time_ns)} at offset {event.offset}: {event.kind.replace('_', ' ')}"
        if event.message:
            text += f" ({event.message})"
        out.print(f"[bold]{'event':<12}[/bold] {escape(printable(text))}")
