"""`joblog search`: which logs say something, and where."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, NamedTuple, Self

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from joblog.cli.listing import RUN_STATES, StateName, parse_labels
from joblog.cli.options import DEFAULT, AsJson, DataDir, Leader, Namespace, open_client, parse_target
from joblog.cli.output import err, progress_console
from joblog.cli.terminal import LogOutput
from joblog.cli.words import bytes_text
from joblog.errors import InvalidInput
from joblog.formats import rfc3339_nano
from joblog.v1 import logs_pb2, types_pb2
from joblog.values import parse_duration

_MATCH, _PLACE, _PLAIN = b"\x1b[1;31m", b"\x1b[36m", b"\x1b[0m"
_STREAMS = {"stdout": types_pb2.STREAM_STDOUT, "stderr": types_pb2.STREAM_STDERR}
_STREAM_NAMES = {number: name for name, number in _STREAMS.items()}


def moment_ns(text: str, now_ns: int) -> int:
    """A time in nanoseconds: an age as 90m, 12h or 7d, or a date with or without time (UTC unless it says otherwise).

    Raises InvalidInput.
    """
    with suppress(InvalidInput):
        return _bounded(now_ns - parse_duration(text) * 10**9)
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(
            f"{text[:60]!r} is no time: write an age as 90m, 12h, 7d, or 2026-01-31[T12:30[Z]]"
        ) from None
    past = (when if when.tzinfo else when.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    return _bounded((past.days * 86_400 + past.seconds) * 10**9)


def _bounded(time_ns: int) -> int:
    """A time that a message can hold, and not 0, which says that there is no bound."""
    return min(max(1, time_ns), 2**63 - 1)


class _Runs(NamedTuple):
    """Which runs to search, as it was typed."""

    since: str | None = None
    until: str | None = None
    states: tuple[StateName, ...] = ()
    labels: tuple[str, ...] = ()
    last: int | None = None
    text: str = ""

    def put_into(self, request: logs_pb2.SearchRequest) -> None:
        """Raises InvalidInput for what makes no sense."""
        now_ns = time.time_ns()
        request.created_from_ns = moment_ns(self.since, now_ns) if self.since else 0
        request.created_before_ns = moment_ns(self.until, now_ns) if self.until else 0
        request.states.extend(RUN_STATES[one] for one in self.states)
        request.labels.update(parse_labels(list(self.labels)))
        request.max_runs, request.run_text = self.last or 0, self.text


def search(
    pattern: Annotated[str, typer.Argument(help="What to look for, within lines.")],
    path: Annotated[
        str | None,
        typer.Argument(metavar="[RUN[/TASK[/ATTEMPT]]]", help="Where; without it in all runs, the newest first."),
    ] = None,
    *,
    regex: Annotated[bool, typer.Option("--regex", "-E", help="PATTERN is a regular expression (RE2).")] = False,
    ignore_case: Annotated[
        bool, typer.Option("--ignore-case", "-i", help="Upper and lower case are the same.")
    ] = False,
    context: Annotated[
        int, typer.Option("--context", "-C", metavar="N", min=0, max=20, help="Lines to show around each hit.")
    ] = 0,
    stream: Annotated[
        Literal["stdout", "stderr"] | None, typer.Option("--stream", help="Only lines that this stream wrote.")
    ] = None,
    max_hits: Annotated[
        int, typer.Option("--max", "-m", metavar="N", min=1, max=10_000, help="End after N hits.")
    ] = 1000,
    logs_only: Annotated[bool, typer.Option("--list", "-l", help="Only the names of the logs that have it.")] = False,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="Only runs created since then: 90m, 7d, 2026-01-31.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="Only runs created before then.")] = None,
    state: Annotated[
        list[StateName] | None,
        typer.Option("--state", metavar="live|succeeded|failed|interrupted", help="Only such runs; repeatable."),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="KEY=VALUE", help="Only runs with this label; repeatable."),
    ] = None,
    last: Annotated[
        int | None,
        typer.Option("--last", metavar="N", min=1, max=100_000, help="Only the newest N of the runs that are left."),
    ] = None,
    run_text: Annotated[
        str, typer.Option("--run-text", metavar="TEXT", help="Only runs with this in their name or a label KEY=VALUE.")
    ] = "",
    seconds: Annotated[
        float, typer.Option("--seconds", metavar="S", min=0.1, max=600, help="Give up after so long.")
    ] = 600,
    as_json: AsJson = False,
    namespace: Namespace = DEFAULT,
    leader: Leader = None,
    data_dir: DataDir = None,
) -> None:
    """Search logs, live and archived ones. Exit code 0: found, 1: not found."""
    request = logs_pb2.SearchRequest(
        namespace=namespace,
        pattern=pattern,
        regex=regex,
        ignore_case=ignore_case,
        context_lines=context,
        stream=_STREAMS[stream] if stream else None,
        max_hits=max_hits,
        max_hits_per_log=1 if logs_only else 0,
        max_seconds=seconds,
    )
    runs = _Runs(since, until, tuple(state or ()), tuple(label or ()), last, run_text)
    if path:
        if runs != _Runs():
            raise InvalidInput(
                "--last, --since, --until, --state, --label and --run-text choose among runs: leave the path out"
            )
        target = parse_target(path, namespace)
        request.run, request.task, request.attempt = target.run, target.task, target.attempt
    else:
        runs.put_into(request)
    with open_client(leader, data_dir) as client:
        found = _show(client.search(request), as_json=as_json, logs_only=logs_only)
    raise typer.Exit(0 if found else 1)


def _show(responses: Iterable[logs_pb2.SearchResponse], *, as_json: bool, logs_only: bool) -> bool:
    found = False
    last = logs_pb2.SearchResponse()
    colour = os.isatty(1)
    with LogOutput() as output, _SearchProgress() as progress:
        for response in responses:
            path = _path(response.id)
            if response.hits:
                found = True
                if as_json:
                    text = "".join(json.dumps(_as_json(response.id, hit)) + "\n" for hit in response.hits).encode()
                elif logs_only:
                    text = path + b"\n"
                else:
                    text = b"".join(_hit_text(path, hit, colour=colour) for hit in response.hits)
                progress.hide()
                output.write(1, text)
            for gap in response.skipped:
                progress.hide()
                say(f"{path.decode()}: {gap.length} bytes from offset {gap.offset} on are missing")
            progress.show(response)
            last = response
    if last.stopped:
        why = {"hits": "there may be more hits, raise --max", "time": "the time is up, raise --seconds"}
        said = why.get(last.stopped, last.stopped)
        say(f"not searched to the end: {said} ({_progress_text(last)} were searched)")
    return found


def _progress_text(response: logs_pb2.SearchResponse) -> str:
    runs = f"{response.runs_done:,}"
    if response.runs_total:
        runs += f" of {max(response.runs_total, response.runs_done):,}"
    return f"{runs} runs, {response.logs_done:,} logs, {bytes_text(response.bytes_done)}"


class _SearchProgress:
    """How far a search is, in a line on stderr, which is there on a terminal only and goes away at the end."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            console=progress_console,
            transient=True,
            auto_refresh=False,
            disable=not os.isatty(2),
        )
        self._bar = self._progress.add_task("searching", total=None)
        self._is_shown = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.hide()

    def show(self, response: logs_pb2.SearchResponse) -> None:
        """Brings it up to date."""
        if not self._is_shown:
            self._progress.start()
            self._is_shown = True
        self._progress.update(
            self._bar,
            description=f"{_progress_text(response)} searched",
            completed=response.runs_done,
            total=response.runs_total or None,
        )
        self._progress.refresh()

    def hide(self) -> None:
        """Clears its line, for something else to be written there."""
        if self._is_shown:
            self._progress.stop()
            self._is_shown = False


def say(message: str) -> None:
    """A remark on stderr, beside what was found."""
    err.print(f"joblog: {message}", markup=False)


def _path(name: types_pb2.LogId) -> bytes:
    return f"{name.run}/{name.task}/{name.attempt}".encode()


def _as_json(name: types_pb2.LogId, hit: logs_pb2.SearchHit) -> dict[str, Any]:
    return {
        "namespace": name.namespace,
        "run": name.run,
        "task": name.task,
        "attempt": name.attempt,
        "stream": _STREAM_NAMES.get(hit.stream),
        "time": rfc3339_nano(hit.time_ns) if hit.time_ns else None,
        "offset": hit.offset,
        **_line_json(hit.line),
        "spans": list(hit.spans),
        "before": [_line_json(line) for line in hit.before],
        "after": [_line_json(line) for line in hit.after],
    }


def _line_json(shown: logs_pb2.ShownLine) -> dict[str, Any]:
    """Text that is not UTF-8 is in base64 as well."""
    try:
        text = {"text": shown.text.decode()}
    except UnicodeDecodeError:
        encoded = base64.b64encode(shown.text).decode()
        text = {"text": shown.text.decode(errors="replace"), "text_base64": encoded}
    return {"line": shown.line, "line_offset": shown.offset, "cut": shown.cut, **text}


def _hit_text(path: bytes, hit: logs_pb2.SearchHit, *, colour: bool) -> bytes:
    rows = [*((line, b"-") for line in hit.before), (hit.line, b":"), *((line, b"-") for line in hit.after)]
    around = b"--\n" if len(rows) > 1 else b""
    return (
        b"".join(_row(path, line, mark, hit.spans if mark == b":" else (), colour=colour) for line, mark in rows)
        + around
    )


def _row(path: bytes, shown: logs_pb2.ShownLine, mark: bytes, spans: Sequence[int], *, colour: bool) -> bytes:
    text = shown.text + (b" ..." if shown.cut else b"")
    place = path + mark + str(shown.line).encode() + mark
    if not colour:
        return place + text + b"\n"
    for begin, end in reversed(list(zip(spans[::2], spans[1::2], strict=True))):
        text = text[:begin] + _MATCH + text[begin:end] + _PLAIN + text[end:]
    return _PLACE + place + _PLAIN + text + _PLAIN + b"\n"
