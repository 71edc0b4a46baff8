"""The files of one task's log in CRI format: laid out as the kubelet does it, rotated by size, removed by age."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from joblog.worker.capture.cri_place import CriPlace

# As new_run_id makes them; no uid of a pod looks like that.
_OURS = re.compile(r"[^_]+_.+_[0-9a-hjkmnp-tv-z]{20}\Z")
# At most so many folders are removed at a time.
_MAX_REMOVED = 64


class CriFiles:
    """<dir>/<pod folder>/<task>/<number>.log and what it was rotated into. Raises OSError from `write`."""

    def __init__(self, place: CriPlace, pod: str, task: str, number: int) -> None:
        self._place = place
        self._pod = f"{place.dir}/{pod}"
        self._folder = f"{self._pod}/{task}"
        self.path = f"{self._folder}/{number}.log"
        self._fd = -1
        # Folders that are to be made: one that is there already is somebody else's.
        self._missing = [self._pod, self._folder]
        self._size = 0
        self._rotated: deque[str] = deque()
        self._last_second = 0

    def write(self, block: bytes) -> None:
        """Appends whole lines: all of them or, when it raises, nothing."""
        if self._fd >= 0 and self._size and self._size + len(block) > self._place.max_file_bytes:
            self._rotate()
        if self._fd < 0:
            self._open()
        try:
            rest = memoryview(block)
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError:
            os.ftruncate(self._fd, self._size)
            raise
        self._size += len(block)

    def _open(self) -> None:
        folder_mode = 0o750 if self._place.mode & 0o040 else 0o700
        while self._missing:
            folder = self._missing[0]
            if folder == self._pod:
                os.makedirs(self._place.dir, folder_mode, exist_ok=True)
            os.mkdir(folder, folder_mode)
            self._missing.pop(0)
            # Whatever the umask is; a group that the folder above hands down stays.
            os.chmod(folder, folder_mode | (os.stat(folder).st_mode & 0o2000))
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._fd, self._size = os.open(self.path, flags, self._place.mode), 0
        # Not every file system can do either.
        with contextlib.suppress(OSError):
            os.fchmod(self._fd, self._place.mode)
        with contextlib.suppress(OSError):
            # Says to who removes old files that this one is in use.
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _rotate(self) -> None:
        """As the kubelet: 0.log becomes 0.log.20060102-150405, and the oldest goes. Nothing is compressed."""
        # Two within a second would have one name.
        self._last_second = max(self._last_second + 1, int(time.time()))
        name = f"{self.path}.{time.strftime('%Y%m%d-%H%M%S', time.gmtime(self._last_second))}"
        try:
            os.rename(self.path, name)
            self._rotated.append(name)
        except FileNotFoundError:
            pass
        self.close()
        while len(self._rotated) >= self._place.max_files:
            try:
                os.unlink(self._rotated.popleft())
            except FileNotFoundError:
                continue

    def close(self) -> None:
        """Lets go of the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def remove_old(place: CriPlace, now: float) -> None:
    """Removes files of ended tasks that were last written to before place.keep_seconds. Raises OSError."""
    if not place.keep_seconds:
        return
    removed = 0
    for name in sorted(os.listdir(place.dir)):
        if removed == _MAX_REMOVED:
            return
        if _OURS.match(name):
            removed += _remove_if_old(f"{place.dir}/{name}", now - place.keep_seconds)


def _remove_if_old(pod: str, before: float) -> bool:
    """Removes a pod's folder when all that is in it is ours, old and in use by nobody."""
    try:
        if os.lstat(pod).st_uid != os.geteuid() or os.path.islink(pod):
            return False
        folders = [entry.path for entry in os.scandir(pod) if entry.is_dir(follow_symlinks=False)]
        files = [entry for folder in folders for entry in os.scandir(folder)]
        if os.lstat(pod).st_mtime >= before or any(
            not entry.is_file(follow_symlinks=False) or entry.stat().st_mtime >= before or _in_use(entry.path)
            for entry in files
        ):
            return False
        for entry in files:
            os.unlink(entry.path)
        for folder in (*folders, pod):
            os.rmdir(folder)
    except OSError:
        return False
    return True


def _in_use(path: str) -> bool:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
