"""Named steps of the archiver's work at which a test may stop it. In service nothing is armed, and nothing happens."""

from __future__ import annotations

from collections.abc import Callable

# In the order in which they are come by.
STEPS = (
    "flush.gathered",
    "roster.announced",
    "roster.put",
    "roster.committed",
    "pack.announced",
    "pack.put",
    "pack.committed",
    "seal.announced",
    "seal.part",
    "seal.put",
    "seal.metadata",
    "seal.committed",
    "segment.announced",
    "segment.put",
    "segment.committed",
    "clean.listed",
    "clean.deleted",
    "clean.forgotten",
    "claim.written",
)
# When store keys were wrapped anew.
KEY_STEPS = ("store_key.found", "store_key.put")
# When tokens and certificates are written.
ACCESS_STEPS = ("access.ready", "access.put")
# When logs are kept from deletion.
HOLD_STEPS = ("holds.ready", "holds.put")
# When runs are deleted that no policy keeps; what follows in the archive is among the archiver's.
RETENTION_STEPS = ("retention.noted", "retention.deleted")
# When logs of older systems are adopted.
ADOPT_STEPS = ("adopt.announced", "adopt.put", "adopt.committed")
# Of what is run by hand, where no leader runs.
COMMAND_STEPS = (
    "rebuild.claimed",
    "rebuild.batch",
    "rebuild.live",
    "gc.found",
    "gc.deleting",
    "gc.deleted",
    *KEY_STEPS,
    *ACCESS_STEPS,
    *HOLD_STEPS,
    *RETENTION_STEPS,
    *ADOPT_STEPS,
)

_armed: dict[str, Callable[[], None]] = {}


def reach(step: str) -> None:
    """The work has come to `step`."""
    if _armed and (hook := _armed.get(step)) is not None:
        hook()


def arm(step: str, hook: Callable[[], None]) -> None:
    """Calls `hook` each time the step is reached, in the thread that works. Raises KeyError for an unknown step."""
    if step not in STEPS + COMMAND_STEPS:
        raise KeyError(step)
    _armed[step] = hook


def disarm() -> None:
    """Nothing is armed any more."""
    _armed.clear()
