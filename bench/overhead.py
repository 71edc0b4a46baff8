"""What `joblog run` costs a task: wall time of a chatty one against `> file`, start, and memory.

The chatty task works some microseconds for each line and writes it unbuffered: more than a hundred thousand writes a
second, for several seconds; its start is part of its time.
For information only, `cat` of a large file is measured too, which does nothing but write.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.buildlog import text_file
from bench.daemons import Daemons, daemons, wait_for
from bench.measuring import MIB, measured, memory_share_bytes, percentile
from bench.results import Result, arguments
from joblog.worker.tasks import list_tasks

CHATTY = Path(__file__).with_name("chatty.py")
MAX_WALL_RATIO = 1.1
MAX_START_MS = 100
MAX_MEMORY_MIB = 12
SUPERVISED_TASKS = 10


def main() -> None:
    """Runs the benchmark and keeps its figures."""
    options = arguments(__doc__ or "")
    result = Result("overhead", quick=options.quick)
    with daemons() as running:
        memory(result, running)
        start(result, running, rounds=5 if options.quick else 30)
        chatty(result, running, lines=200_000 if options.quick else 1_000_000, rounds=2 if options.quick else 5)
    result.keep()


def _seconds(command: Sequence[str], out: str) -> float:
    with Path(out).open("wb") as file:
        return measured(command, stdout=file.fileno()).wall_seconds


def _alternately(rounds: int, *runs: Callable[[], float]) -> list[float]:
    """The median of each of some measurements, taken in turn, so that a busy moment hits all alike."""
    found = [[run() for run in runs] for _ in range(rounds)]
    return [percentile(column, 50) for column in zip(*found, strict=True)]


def chatty(result: Result, running: Daemons, *, lines: int, rounds: int) -> None:
    """Wall time of tasks that print, plain and under joblog."""
    text = text_file(128 * MIB)
    tasks = {"a chatty task": [sys.executable, str(CHATTY), str(lines)], "cat of 128 MiB": ["cat", str(text)]}
    with tempfile.TemporaryDirectory() as folder:
        for name, command in tasks.items():
            supervised = running.run_command("overhead", "chatty", command)
            plain_seconds, joblog_seconds = _alternately(
                rounds,
                lambda command=command: _seconds(command, f"{folder}/out"),  # type: ignore[misc]
                lambda command=supervised: _seconds(command, "/dev/null"),  # type: ignore[misc]
            )
            limit = MAX_WALL_RATIO if name == "a chatty task" else None
            result.add(f"{name}: wall time, against > file", joblog_seconds / plain_seconds, "times", at_most=limit)
            result.add(f"{name}: wall time with > file", plain_seconds, "s")


def start(result: Result, running: Daemons, rounds: int) -> None:
    """How much longer `joblog run -- true` takes than `true`."""
    plain_seconds, joblog_seconds = _alternately(
        rounds,
        lambda: _seconds(["true"], "/dev/null"),
        lambda: _seconds(running.run_command("overhead", "true", ["true"]), "/dev/null"),
    )
    extra = (joblog_seconds - plain_seconds) * 1e3
    result.add("joblog run -- true, over true", extra, "ms", at_most=MAX_START_MS)
    python_seconds = _alternately(rounds, lambda: _seconds([sys.executable, "-c", "pass"], "/dev/null"))[0]
    result.add("python -c pass, for comparison", python_seconds * 1e3, "ms")


def memory(result: Result, running: Daemons) -> None:
    """What a supervisor takes while its task says nothing, and after it has printed for a while."""
    _memory(result, running, "quiet", 0)
    _memory(result, running, "printed", 64 * MIB)


def _memory(result: Result, running: Daemons, what: str, length_bytes: int) -> None:
    command = ["sh", "-c", f"head -c {length_bytes} {text_file(128 * MIB)}; exec sleep 600"]
    tasks = [running.start_task(what, f"task-{number}", command) for number in range(SUPERVISED_TASKS)]
    wait_for(lambda: _all_at(running, length_bytes), "the tasks and their output", 120.0)
    time.sleep(1.0)
    used = [memory_share_bytes(task.process.pid) for task in tasks]
    for task in tasks:
        task.end()
    running.wait_completed(what, len(tasks))
    after = f"after {length_bytes // MIB} MiB of output" if length_bytes else "of a quiet task"
    result.add(f"memory of a supervisor, {after}", percentile(used, 50) / MIB, "MiB PSS", at_most=MAX_MEMORY_MIB)


def _all_at(running: Daemons, length_bytes: int) -> bool | None:
    states = list_tasks(str(running.folder.spools))
    found = [state for state in states if state.running and state.task_pid and state.length_bytes >= length_bytes]
    return True if len(found) >= SUPERVISED_TASKS else None


if __name__ == "__main__":
    main()
