"""`joblog audit`: who did what, and whether that record is whole."""

from __future__ import annotations

import fnmatch
import sys
import time
from collections import deque
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from joblog.cli.options import AsJson, DataDir, Leader, open_client
from joblog.cli.output import bytes_progress, err, out, print_json
from joblog.cli.searching import moment_ns
from joblog.cli.words import log_state, printable
from joblog.client import Client, Pauses, log_name
from joblog.errors import Corrupt, InvalidInput, JoblogError, NotFound
from joblog.formats import gap_reason
from joblog.identity import AUDIT_NAMESPACE, AUDIT_TASK
from joblog.leader.access.audit_chain import ChainCheck
from joblog.leader.access.audit_line import parse_line
from joblog.v1 import logs_pb2, types_pb2

app = typer.Typer(name="audit", help="The audit log: who did what, when, from where.", no_args_is_help=True)

_LOOK_SECONDS = 1.0
_HASH_LENGTH = 64


@app.callback()
def root() -> None:
    """The audit log: who did what, when, from where."""


def _logs(client: Client) -> list[types_pb2.LogRecord]:
    """All logs of the chain, the oldest first."""
    runs = sorted(run.run for run in client.runs(AUDIT_NAMESPACE))
    return [record for run in runs for record in client.logs(run, AUDIT_NAMESPACE, task=AUDIT_TASK)]


def _path(record: types_pb2.LogRecord) -> str:
    return f"{record.id.run}/{record.id.task}/{record.id.attempt}"


class _Wanted:
    """Which lines to show."""

    def __init__(self, actions: list[str], since_ns: int) -> None:
        self._actions = actions
        self._since = datetime.fromtimestamp(since_ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S") if since_ns else ""

    @property
    def everything(self) -> bool:
        """It lets every line through."""
        return not (self._actions or self._since)

    def all_before(self, record: types_pb2.LogRecord) -> bool:
        """No line of the log can be one of them."""
        last_ns = record.completed_ns
        return bool(last_ns and self._since and datetime.fromtimestamp(last_ns // 10**9, UTC).isoformat() < self._since)

    def __call__(self, line: bytes) -> bool:
        if self.everything:
            return True
        try:
            record = parse_line(line)
        except Corrupt:
            # It is not for a filter to hide that a line is damaged.
            return True
        fits = not self._actions or any(fnmatch.fnmatchcase(record["action"], glob) for glob in self._actions)
        return fits and record["time"] >= self._since


@app.command()
def tail(
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", metavar="N", min=0, help="The last N lines.")] = 20,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="All lines since then: 90m, 7d, 2026-01-31.")
    ] = None,
    action: Annotated[
        list[str] | None,
        typer.Option("--action", metavar="GLOB", help="Only these acts: log.delete, token.*; repeatable."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the lines as they are: JSON, one on each.")] = False,
    leader: Leader = None,
    data_dir: DataDir = None,
) -> None:
    """Print the last lines of the audit log."""
    wanted = _Wanted(action or [], moment_ns(since, time.time_ns()) if since else 0)
    with open_client(leader, data_dir) as client:
        logs = _logs(client)
        if not logs:
            raise NotFound("this leader has no audit log")
        count = None if since else lines
        shown, offset = _last_lines(client, logs, wanted, count)
        for line in shown:
            _print_line(line, as_json)
        if follow:
            _follow(client, logs[-1], offset, wanted, as_json)


def _last_lines(
    client: Client, logs: list[types_pb2.LogRecord], wanted: _Wanted, count: int | None
) -> tuple[list[bytes], int]:
    """The last `count` lines wanted, or all of them, and where the newest log goes on."""
    found: list[bytes] = []
    offset = logs[-1].next_offset
    for record in reversed(logs):
        if (count is not None and len(found) >= count) or wanted.all_before(record):
            break
        last_lines = count - len(found) if count is not None and wanted.everything else None
        lines: deque[bytes] = deque(maxlen=None if count is None else count - len(found))
        cutter = _Lines()
        for part in client.read(log_name(record.id), last_lines=last_lines) if record.next_offset else ():
            lines.extend(line for line in cutter.take(part) if wanted(line))
            if record is logs[-1]:
                offset = part.next_offset
        found[:0] = lines
    return found, offset


class _Lines:
    """Cuts what a read brings into lines."""

    def __init__(self) -> None:
        self.rest = b""

    def take(self, part: logs_pb2.ReadResponse) -> list[bytes]:
        """The lines that are whole now, without newlines."""
        *lines, self.rest = (self.rest + part.data).split(b"\n")
        return lines


def _follow(client: Client, record: types_pb2.LogRecord, offset: int, wanted: _Wanted, as_json: bool) -> None:
    """Prints what comes, from log to log, until interrupted; a leader that is gone is waited for."""
    pauses = Pauses(None)
    while True:
        cutter = _Lines()
        try:
            for part in client.read(log_name(record.id), offset=offset, follow=True, on_retry=_say):
                pauses.reset()
                for line in cutter.take(part):
                    if wanted(line):
                        _print_line(line, as_json)
                offset = part.next_offset
            following = [one for one in _logs(client) if _order(one) > _order(record)]
        except JoblogError as error:
            if error.permanent:
                raise
            pauses.over()
            pauses.wait()
            continue
        if following:
            record, offset = following[0], 0
        else:
            time.sleep(_LOOK_SECONDS)


def _say(error: JoblogError) -> None:
    err.print(f"joblog: {error}; trying again", markup=False)


def _order(record: types_pb2.LogRecord) -> tuple[str, int]:
    return record.id.run, record.id.attempt


def _print_line(line: bytes, as_json: bool) -> None:
    if as_json:
        text = line.decode("ascii", "backslashreplace")
        sys.stdout.write(printable(text) + "\n")
        sys.stdout.flush()
        return
    try:
        record = parse_line(line)
    except Corrupt as error:
        out.print(f"[red]A LINE THAT {error}[/red]")
        return
    out.print(printable(line_text(record)), markup=False)


def line_text(record: dict[str, Any]) -> str:
    """A line of the audit log for people."""
    who = record["who"]
    name = who.get("name") or who.get("id") or "somebody unknown"
    peer = record["peer"].removeprefix("ipv4:").removeprefix("ipv6:")
    parts = [
        record["time"][:19].replace("T", " ") + "Z",
        record["action"],
        "" if record["outcome"] == "ok" else record["outcome"].upper(),
        record["subject"],
        "by",
        f"{who.get('kind', '')} {name}".strip(),
        f"from {peer}" if peer else "",
        f"({record['count']} times)" if record["count"] > 1 else "",
        " ".join(f"{key}={value}" for key, value in sorted(record["detail"].items()) if value),
    ]
    return " ".join(part for part in parts if part)


@app.command()
def verify(
    *,
    anchor: Annotated[
        list[str] | None,
        typer.Option(
            "--anchor", metavar="HASH", help="A head that was written down earlier must be there; repeatable."
        ),
    ] = None,
    as_json: AsJson = False,
    leader: Leader = None,
    data_dir: DataDir = None,
) -> None:
    """Read the whole audit log, and check the chain of its lines and each log's seal.

    Prints the head: the hash of the last line. Write it down elsewhere: lines that are cut off at the end can only be
    noticed by --anchor with a head that was printed before. Exit code 6: something is missing or was changed.
    """
    anchors = [_anchor(text) for text in anchor or []]
    with open_client(leader, data_dir) as client:
        logs = _logs(client)
        if not logs:
            raise NotFound("this leader has no audit log")
        check = ChainCheck(anchors)
        with bytes_progress() as progress:
            bar = progress.add_task("audit log", total=sum(record.next_offset for record in logs))
            for record in logs:
                try:
                    _verify_log(client, record, check)
                except (Corrupt, NotFound) as error:
                    check.problem(f"{_path(record)} can't be read: {error}")
                progress.advance(bar, record.next_offset)
    check.begin("")
    for one in anchors:
        if one not in check.verdict.anchors_found:
            check.problem(f"no line has the hash {one}: lines were cut off at the end, or written anew")
    _print_verdict(check, len(logs), as_json)
    if not check.verdict.sound:
        raise typer.Exit(Corrupt.exit_code)


def _anchor(text: str) -> str:
    text = text.strip().lower()
    if len(text) != _HASH_LENGTH or text.strip("0123456789abcdef"):
        raise InvalidInput(f"anchor {text[:80]!r} is not a hash: it has 64 characters of 0-9 a-f")
    return text


def _verify_log(client: Client, record: types_pb2.LogRecord, check: ChainCheck) -> None:
    name = log_name(record.id)
    if record.next_offset:
        check.begin(_path(record))
        cutter = _Lines()
        for part in client.read(name):
            if part.HasField("gap"):
                gap = part.gap
                check.problem(f"{gap.length:,} bytes are missing at offset {gap.offset}: {gap_reason(gap.reason)}")
                cutter = _Lines()
            for line in cutter.take(part):
                check.take(line)
        if cutter.rest:
            check.problem("ends within a line")
    if log_state(record.state) == "completed":
        last = [*deque(client.verify(name), maxlen=1)]
        for problem in last[0].problems if last and last[0].done else ["the leader gave no verdict on its seal"]:
            check.problem(problem)


def _print_verdict(check: ChainCheck, logs: int, as_json: bool) -> None:
    verdict, head = check.verdict, check.verdict.head
    if as_json:
        print_json(
            {
                "sound": verdict.sound,
                "logs": logs,
                "lines": verdict.lines,
                "good_through": verdict.good_through,
                "head": {"sequence": head.sequence, "sha256": head.sha256, "log": head.log},
                "problems": verdict.problems,
            }
        )
        return
    word = "[green]sound[/green]" if verdict.sound else "[red]DAMAGED[/red]"
    out.print(f"audit log: {word}, {verdict.lines:,} lines in {logs:,} logs, good through line {verdict.good_through}")
    out.print(f"  head: line {head.sequence} in {head.log}, {head.sha256}", markup=False)
    for problem in verdict.problems:
        out.print(f"  {printable(problem)}", markup=False)
