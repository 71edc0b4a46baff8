"""Named steps of backups, prunes and restores at which a test may stop them. In service nothing is armed."""

from __future__ import annotations

from collections.abc import Callable

STEPS = (
    "backup.announced",
    "backup.checkpoint",
    "backup.piece",
    "backup.pieces",
    "backup.committing",
    "backup.committed",
    "prune.manifest",
    "prune.trash",
    "prune.waits",
    "prune.pieces",
    "restore.piece",
    "restore.fetched",
    "restore.access",
    "restore.ready",
    "restore.aside",
    "restore.swapped",
    "restore.done",
    "taking.begun",
    "taking.written",
    "taking.completed",
)

_armed: dict[str, Callable[[], None]] = {}


def reach(step: str) -> None:
    """The work has come to `step`."""
    if _armed and (hook := _armed.get(step)) is not None:
        hook()


def arm(step: str, hook: Callable[[], None]) -> None:
    """Calls `hook` each time the step is reached, in the thread that works. Raises KeyError for an unknown step."""
    if step not in STEPS:
        raise KeyError(step)
    _armed[step] = hook


def disarm() -> None:
    """Nothing is armed any more."""
    _armed.clear()
