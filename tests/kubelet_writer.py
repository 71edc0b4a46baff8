"""Writes container logs as containerd does, and rotates, compresses and deletes them as the kubelet does. Seeded.

The rules, and where they are from:

containerd, pkg/cri/io/logger.go (redirectLogs): a line is "<RFC3339Nano> <stream> <tag> <content>\\n", written by one
write(2) to a file opened with O_APPEND; the tag is F, or P for a piece of a line longer than 16 KiB
(max_container_log_line_size) and for what a stream ends with when that is no newline. RFC3339Nano leaves zeros at the
end of the fraction out. stdout and stderr go to the same file.
ReopenContainerLog (pkg/cri/server/container_log_reopen.go): opens (creates) the new file and gives it to both streams;
only then the old file's loggers are closed, and write what they still had: to the old file, after the new one exists.

kubelet, pkg/kubelet/logs/container_log_manager.go (rotateLog): for a file larger than containerLogMaxSize:
cleanupUnusedLogs removes `.tmp` files and uncompressed ones that are there compressed as well; removeExcessLogs removes
the oldest until containerLogMaxFiles - 2 rotated ones are left; each one that is not compressed yet is compressed to
`<name>.tmp`, which is renamed to `<name>.gz`, and the original is removed; rotateLatestLog renames `0.log` to
`0.log.<20060102-150405>` and asks the runtime to reopen it. So the newest rotated file is never compressed.
pkg/kubelet/kuberuntime/helpers.go: logs lie in /var/log/pods/<namespace>_<pod>_<uid>/<container>/<restart>.log. When a
pod is deleted, its folder is removed with all that is in it; the files of earlier restarts go with their containers.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import random
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

MAX_LINE_BYTES = 16 << 10
STREAMS = ("stdout", "stderr")


def stamp(time_ns: int) -> str:
    """RFC3339Nano, in UTC."""
    whole = datetime.fromtimestamp(time_ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f"{time_ns % 10**9:09d}".rstrip("0")
    return whole + ("." + fraction if fraction else "") + "Z"


class ContainerLog:
    """One run of a container. length, sha256: of what it printed so far. clock: of time stamps."""

    def __init__(
        self,
        pods: Path,
        namespace: str,
        pod: str,
        *,
        uid: str = "5f3c0a7e",
        container: str = "main",
        restart: int = 0,
        seed: int = 0,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._clock = clock
        self.namespace, self.pod, self.container, self.restart = namespace, pod, container, restart
        self.pod_folder = pods / f"{namespace}_{pod}_{uid}"
        self.folder = self.pod_folder / container
        self.path = self.folder / f"{restart}.log"
        self.random = random.Random(f"{seed}/{namespace}/{pod}/{container}/{restart}")
        self.length = 0
        self.lines = 0
        self.rotations = 0
        self._hash = hashlib.sha256()
        self._kept: bytearray | None = None
        self.folder.mkdir(parents=True, exist_ok=True)
        self._fd = self._open()
        self._stamp_at = 0

    def keep(self) -> ContainerLog:
        """Keeps what is printed, for a comparison byte by byte."""
        self._kept = bytearray()
        return self

    @property
    def printed(self) -> bytes:
        assert self._kept is not None
        return bytes(self._kept)

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def _open(self) -> int:
        return os.open(self.path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o640)

    # containerd

    def print(self, data: bytes, stream: int = 1) -> None:
        """Lines that the container prints at once; what ends with no newline is a fragment."""
        self._write(self._encoded(data, stream))

    def _encoded(self, data: bytes, stream: int) -> bytes:
        self._account(data)
        out = []
        for line in data.splitlines(keepends=True) if b"\r" not in data else _lines(data):
            text, ended = (line[:-1], True) if line.endswith(b"\n") else (line, False)
            while len(text) > MAX_LINE_BYTES:
                out.append(self._line(text[:MAX_LINE_BYTES], stream, "P"))
                text = text[MAX_LINE_BYTES:]
            out.append(self._line(text, stream, "F" if ended else "P"))
        return b"".join(out)

    def _line(self, text: bytes, stream: int, tag: str) -> bytes:
        return f"{stamp(self._clock())} {STREAMS[stream - 1]} {tag} ".encode() + text + b"\n"

    def _account(self, data: bytes) -> None:
        self.length += len(data)
        self.lines += data.count(b"\n")
        self._hash.update(data)
        if self._kept is not None:
            self._kept += data

    def _write(self, encoded: bytes) -> None:
        os.write(self._fd, encoded)

    def print_encoded(self, encoded: bytes, plain: bytes) -> None:
        """Many lines at once, without a look at each of them: as they are in the file, and as they were printed."""
        self._account(plain)
        self._write(encoded)

    def truncate_in_copy(self) -> None:
        """Copies the file to `.1` and truncates it, as logrotate's copytruncate does."""
        shutil.copyfile(self.path, f"{self.path}.1")
        os.truncate(self.path, 0)

    # kubelet

    def rotate(self, max_files: int = 5, *, late: bytes = b"") -> None:
        """rotateLog, whatever the file's size. late: what the old file gets after the new one is there."""
        logs = sorted(str(path) for path in self.folder.glob(f"{self.restart}.log.*"))
        logs = self._clean_up(logs)
        excess = len(logs) - max(0, max_files - 2)
        for log in logs[: max(0, excess)]:
            os.remove(log)
        for log in logs[max(0, excess) :]:
            if not log.endswith(".gz"):
                self.compress(log)
        self.rename_and_reopen(late)

    def _clean_up(self, logs: list[str]) -> list[str]:
        used = []
        for log in logs:
            if log.endswith(".tmp") or (not log.endswith(".gz") and f"{log}.gz" in logs):
                os.remove(log)
            else:
                used.append(log)
        return used

    def compress(self, log: str) -> None:
        """compressLog."""
        with open(log, "rb") as source, gzip.open(f"{log}.tmp", "wb", compresslevel=1) as target:
            shutil.copyfileobj(source, target)
        os.rename(f"{log}.tmp", f"{log}.gz")
        os.remove(log)

    def rename_and_reopen(self, late: bytes = b"") -> None:
        """rotateLatestLog. Two within one second would have one name: the kubelet looks once in ten."""
        self.rotations += 1
        second = self._clock() // 10**9
        self._stamp_at = max(self._stamp_at + 1, second)
        name = datetime.fromtimestamp(self._stamp_at, UTC).strftime("%Y%m%d-%H%M%S")
        os.rename(self.path, f"{self.path}.{name}")
        old = self._fd
        encoded = self._encoded(late, 1) if late else b""
        self._fd = self._open()
        if encoded:
            os.write(old, encoded)
        os.close(old)

    def size(self) -> int:
        """Bytes of the file that is written."""
        return os.fstat(self._fd).st_size

    def end(self) -> None:
        """The container exits: nothing is written any more."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def delete_pod(self) -> None:
        """The pod is deleted, with all its files."""
        self.end()
        shutil.rmtree(self.pod_folder, ignore_errors=True)


def _lines(data: bytes) -> list[bytes]:
    parts = data.split(b"\n")
    return [part + b"\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


class Block:
    """About `size_bytes` of lines of about 100 bytes, made once and printed often, each time with another start."""

    def __init__(self, seed: int, size_bytes: int, *, stderr_share: float = 0.05) -> None:
        rng = random.Random(seed)
        self.lines: list[tuple[bytes, bytes]] = []
        size = 0
        words = [
            bytes(rng.choices(b"abcdefghijklmnopqrstuvwxyz0123456789", k=rng.randrange(2, 12))) for _ in range(500)
        ]
        while size < size_bytes:
            text = b" ".join(rng.choices(words, k=rng.randrange(4, 22)))
            stream = b" stderr F " if rng.random() < stderr_share else b" stdout F "
            self.lines.append((stream, text + b"\n"))
            size += len(text) + 1

    def at(self, time_ns: int, rng: random.Random) -> tuple[bytes, bytes]:
        """(as in the file, as printed): lines from a random one on, a number in the first."""
        start = rng.randrange(len(self.lines))
        lines = self.lines[start:] + self.lines[:start]
        first = (lines[0][0], b"%d " % rng.getrandbits(64) + lines[0][1])
        lines = [first, *lines[1:]]
        second = stamp(time_ns)[:19].encode()
        fraction = time_ns % 10**9
        left = max(1, (10**9 - 1 - fraction) // len(lines) // 4)
        encoded = b"".join(
            second + b".%09dZ" % (fraction + number * left) + stream + text
            for number, (stream, text) in enumerate(lines)
        )
        return encoded, b"".join(text for _, text in lines)
