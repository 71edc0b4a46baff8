"""What processes used: CPU seconds, memory, bytes on disk; and percentiles of times."""

from __future__ import annotations

import gc
import math
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from joblog.memory import give_back

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
MIB = 1 << 20
GIB = 1 << 30


class Ended(NamedTuple):
    """A process that has ended. cpu_seconds: its own; children_cpu_seconds: of those that it waited for."""

    exit_code: int
    wall_seconds: float
    cpu_seconds: float
    children_cpu_seconds: float


def cpu_seconds(pid: int) -> tuple[float, float]:
    """CPU seconds, user and system, of a process with all its threads, and of its children that were waited for."""
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    user, system, children_user, children_system = (int(field) for field in fields[11:15])
    return (user + system) / _TICKS_PER_SECOND, (children_user + children_system) / _TICKS_PER_SECOND


def run_and_measure(process: subprocess.Popen[bytes], began: float) -> Ended:
    """Waits for a child of this process and tells what it used. began: time.monotonic() when it was started."""
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    wall = time.monotonic() - began
    own, children = cpu_seconds(process.pid)
    return Ended(process.wait(), wall, own, children)


def measured(command: Sequence[str], *, stdout: int | None = None) -> Ended:
    """Runs a command to its end; raises RuntimeError when its exit code is not 0."""
    began = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL if stdout is None else stdout) as process:
        ended = run_and_measure(process, began)
    if ended.exit_code:
        raise RuntimeError(f"{command[0]} ended with {ended.exit_code}")
    return ended


def memory_peak_bytes(pid: int) -> int:
    """The most resident memory that a running process has had."""
    return _status_bytes(Path(f"/proc/{pid}/status"), "VmHWM")


def memory_share_bytes(pid: int) -> int:
    """Memory of a running process, pages that others map too counted in part (PSS)."""
    return _status_bytes(Path(f"/proc/{pid}/smaps_rollup"), "Pss")


def _status_bytes(path: Path, name: str) -> int:
    for line in path.read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) << 10
    raise RuntimeError(f"{path} has no {name}")


def disk_bytes(folder: Path) -> int:
    """Bytes that a folder's files take on disk; files that go meanwhile are left out."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(parent, name)).st_blocks * 512
            except FileNotFoundError:
                continue
    return total


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest of the values that `percent` of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def reset_memory_peak() -> None:
    """From now on self_memory_peak_bytes() tells of what comes. Freed memory is given back first."""
    gc.collect()
    give_back()
    Path("/proc/self/clear_refs").write_text("5")


def self_memory_peak_bytes() -> int:
    """The most resident memory that this process has had."""
    return memory_peak_bytes(os.getpid())


def self_memory_bytes() -> int:
    """Resident memory of this process now."""
    return _status_bytes(Path("/proc/self/status"), "VmRSS")
