"""No dumps of memory: processes that hold keys, tokens and what tasks print leave none, and let nobody look inside."""

from __future__ import annotations

_PR_SET_DUMPABLE = 4


def refuse_dumps() -> None:
    """From now on a crash of this process leaves no core, and other processes of its user can't look into its memory.

    Debuggers and /proc/PID/{environ,mem,fd} are for root alone then. What it starts may be dumped again: a task's
    cores are its user's business.
    """
    # Supervisors load this module; only those that have something to hide call it.
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def refuse_cores() -> None:
    """As refuse_dumps(), and the limit of a core's size becomes 0 for all that this process starts, too."""
    import resource

    refuse_dumps()
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
