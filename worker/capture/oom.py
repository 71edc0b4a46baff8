"""Whether the kernel killed for lack of memory, as far as this process's cgroup tells."""

from __future__ import annotations


def _counter_file() -> tuple[str, str] | None:
    try:
        with open("/proc/self/cgroup", encoding="utf-8") as file:
            lines = file.read().splitlines()
    except (OSError, ValueError):
        return None
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if "memory" in controllers.split(","):
            return f"/sys/fs/cgroup/memory{path}/memory.oom_control", "oom_kill"
        if not controllers and len(lines) == 1:
            return f"/sys/fs/cgroup{path}/memory.events", "oom_kill"
    return None


class OomWatch:
    """Counts kills from when it was made."""

    def __init__(self) -> None:
        self._source = _counter_file()
        self._before = self._count()

    def _count(self) -> int:
        if self._source is None:
            return 0
        path, key = self._source
        try:
            with open(path, encoding="ascii") as file:
                for line in file:
                    name, _, value = line.partition(" ")
                    if name == key:
                        return int(value)
        except (OSError, ValueError):
            pass
        return 0

    def happened(self) -> bool:
        """Whether a process of the cgroup was killed since; False where that can't be known."""
        return self._count() > self._before
