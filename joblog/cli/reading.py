"""`joblog logs`: a log on stdout."""

from __future__ import annotations

import enum
import os
import select
import stat
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated

import typer

from joblog.cli.main import BROKEN_PIPE_EXIT_CODE
from joblog.cli.options import DEFAULT, DataDir, Leader, LogPath, Namespace, Raw, open_client
from joblog.cli.terminal import LogOutput, default_colours
from joblog.client import Client
from joblog.errors import InvalidInput, JoblogError
from joblog.formats import Cri, Json, Renderer, Timestamps, gap_reason
from joblog.identity import RUN_LOG_TASK, LogName, parse_log_path
from joblog.printable import printable
from joblog.v1 import logs_pb2, types_pb2

MAX_RUN_LOG_BYTES = 64 << 20


class Format(enum.StrEnum):
    """How a log is printed."""

    RAW = "raw"
    CRI = "cri"
    JSON = "json"


class StreamName(enum.StrEnum):
    """Which of a task's streams."""

    STDOUT = "stdout"
    STDERR = "stderr"


_STREAMS = {StreamName.STDOUT: types_pb2.STREAM_STDOUT, StreamName.STDERR: types_pb2.STREAM_STDERR}


def logs(
    path: LogPath,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the log is completed.")] = False,
    from_offset: Annotated[int | None, typer.Option("--from", metavar="OFFSET", min=0, help="Start at a byte.")] = None,
    tail: Annotated[int | None, typer.Option("--tail", metavar="N", min=0, help="Start at the last N lines.")] = None,
    line: Annotated[int | None, typer.Option("--line", metavar="N", min=1, help="Start at line N.")] = None,
    stream: Annotated[
        StreamName | None, typer.Option("--stream", metavar="stdout|stderr", help="Only this stream of the task.")
    ] = None,
    timestamps: Annotated[bool, typer.Option("--timestamps", "-t", help="Put the time before each line.")] = False,
    output_format: Annotated[
        Format,
        typer.Option(
            "--format", metavar="raw|cri|json", help="The bytes as they were, Kubernetes' log format, or JSON lines."
        ),
    ] = Format.RAW,
    split: Annotated[bool, typer.Option("--split", help="Print the task's stderr on stderr.")] = False,
    raw: Raw = False,
    namespace: Namespace = DEFAULT,
    leader: Leader = None,
    data_dir: DataDir = None,
) -> None:
    """Print a log: every byte that the task wrote, stdout and stderr in the order in which they came.

    What joblog itself has to say (bytes that are missing, a worker that is lost, a leader that does not answer) goes to
    stderr. On a terminal only colours pass; other control sequences are shown as text, unless --raw is given. RUN/@run
    is the run's log: the lines of all who wrote to it, by time. With --follow, a broken connection is made again, and
    the log goes on where it was.
    """
    name = parse_log_path(path, namespace)
    starts = {"--from": from_offset, "--tail": tail, "--line": line}
    if len(given := [flag for flag, value in starts.items() if value is not None]) > 1:
        raise InvalidInput(f"{' and '.join(given)} are given together: a log is printed from one place on, choose one")
    renderer = _renderer(output_format, timestamps, split, filtered=stream is not None)
    notices = Notices(follow)
    if follow:
        _end_with_reader(1)
    with open_client(leader, data_dir) as client, LogOutput(raw=raw) as output:
        whole = not (given or follow or stream or split or renderer)
        if whole and name.task == RUN_LOG_TASK and not name.attempt:
            parts = run_log(client, name)
            _write_raw(parts, notices, output)
            return
        parts = client.read(
            name,
            offset=from_offset,
            line=line,
            last_lines=tail,
            stream=_STREAMS[stream] if stream else types_pb2.STREAM_UNSPECIFIED,
            with_frames=split or renderer is not None,
            follow=follow,
            on_retry=notices.retry,
        )
        try:
            if renderer is not None:
                _write_rendered(parts, renderer, notices, output)
            elif split:
                _write_split(parts, notices, output)
            else:
                _write_raw(parts, notices, output)
        except BrokenPipeError:
            raise typer.Exit(BROKEN_PIPE_EXIT_CODE) from None


def run_log(client: Client, name: LogName) -> Iterator[logs_pb2.ReadResponse]:
    """A run's log: the lines of all who wrote to it, by their times. Where they are many, those of the newest alone."""
    attempts = list(client.logs(name.run, name.namespace, task=name.task))
    if sum(log.next_offset for log in attempts) > MAX_RUN_LOG_BYTES:
        yield from client.read(name)
        return
    lines: list[bytes] = []
    for log in attempts:
        text = b"".join(part.data for part in client.read(name._replace(attempt=log.id.attempt)))
        lines += text.splitlines(keepends=True)
    # Each begins with its time; those of one writer are in order, and stay so.
    lines.sort(key=lambda line: line.partition(b" ")[0])
    yield logs_pb2.ReadResponse(data=b"".join(lines), state=types_pb2.LOG_STATE_COMPLETED)


def _renderer(output_format: Format, timestamps: bool, split: bool, *, filtered: bool) -> Renderer | None:
    if output_format is not Format.RAW:
        if timestamps or split:
            raise InvalidInput(
                f"--format {output_format.value} says time and stream of each line itself: leave out the rest"
            )
        return Cri() if output_format is Format.CRI else Json(filtered=filtered)
    if timestamps and split:
        raise InvalidInput("--timestamps and --split are given together: choose one")
    return Timestamps() if timestamps else None


def _write_raw(parts: Iterable[logs_pb2.ReadResponse], notices: Notices, output: LogOutput) -> None:
    for part in parts:
        notices.take(part)
        output.write(1, part.data)


def _write_rendered(
    parts: Iterable[logs_pb2.ReadResponse], renderer: Renderer, notices: Notices, output: LogOutput
) -> None:
    for part in parts:
        notices.take(part)
        output.write(1, renderer.render(part))
    output.write(1, renderer.finish())


def _write_split(parts: Iterable[logs_pb2.ReadResponse], notices: Notices, output: LogOutput) -> None:
    for part in parts:
        notices.take(part)
        start = end = 0
        fd = 1
        for frame in part.frames:
            frame_fd = 2 if frame.stream == types_pb2.STREAM_STDERR else 1
            if frame_fd != fd:
                output.write(fd, part.data[start:end])
                start, fd = end, frame_fd
            end += frame.length
        output.write(fd, part.data[start:])


class Notices:
    """What is said on stderr beside a log. Events are said once, and, as news, only where the log is followed."""

    def __init__(self, follow: bool, write: Callable[[str], object] | None = None) -> None:
        self._follow = follow
        self._write = write or sys.stderr.write
        # A log's colours must not make a notice unreadable.
        self._colours = "" if write else default_colours(2)
        self._said: set[tuple[int, int, str]] = set()
        self._broken = False

    def _say(self, message: str) -> None:
        self._write(f"{self._colours}joblog: {printable(message)}\n")

    def take(self, part: logs_pb2.ReadResponse) -> None:
        """Looks at the next answer of a read."""
        if self._broken:
            self._broken = False
            self._say(f"connected again, going on at offset {part.offset}")
        if part.HasField("gap"):
            self._say(f"{part.gap.length:,} bytes missing at offset {part.gap.offset}: {gap_reason(part.gap.reason)}")
        if self._follow and part.events:
            self._take_events(part.events)

    def _take_events(self, events: Iterable[types_pb2.Event]) -> None:
        for event in events:
            key = (event.offset, event.time_ns, event.kind)
            if key not in self._said:
                self._said.add(key)
                self._say(f"{event.kind.replace('_', ' ')}: {event.message}".removesuffix(": "))

    def retry(self, error: JoblogError) -> None:
        """The connection broke and is being made again."""
        if not self._broken:
            self._broken = True
            self._say(f"{error}; trying again")


def _end_with_reader(fd: int) -> None:
    """Ends this process once nobody reads the pipe any more, also while the log says nothing."""
    if not stat.S_ISFIFO(os.fstat(fd).st_mode):
        return

    def watch() -> None:
        poll = select.poll()
        poll.register(fd, 0)
        poll.poll()
        os._exit(BROKEN_PIPE_EXIT_CODE)

    threading.Thread(target=watch, name="reader-watch", daemon=True).start()
