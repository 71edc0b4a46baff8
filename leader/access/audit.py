"""What the audit log says: who did what, when, from where, and whether it was allowed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from joblog.leader.access.principal import Principal


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One act. action: `log.read`, `log.search`, `log.delete`, `token.create`, `keys.rotate`, `login`, `join`, ...

    principal: None for whoever was not recognised, and for the leader itself.
    outcome: `ok`, `refused` (not allowed) or `failed`. subject: what it was done to: a log's path, a token's id.
    peer: the address it came from. detail: more, never a secret. Texts may come from anywhere: what is long is cut,
    what can't be printed is escaped, and what looks like a token loses its secret.
    """

    action: str
    principal: Principal | None
    outcome: str
    subject: str = ""
    peer: str = ""
    detail: dict[str, str] = field(default_factory=dict)


class Auditor(Protocol):
    """Takes events for the audit log. Called in the event loop."""

    def note(self, event: AuditEvent) -> None:
        """Takes the event; it is written soon. Acts alike that follow one another closely may be counted in one."""
        ...

    async def record(self, event: AuditEvent) -> None:
        """Returns when the event is on disk, synced; for acts that change something. Raises Unavailable."""
        ...


class NoAudit:
    """Keeps nothing: for tests, and for a leader whose audit log is turned off."""

    def note(self, event: AuditEvent) -> None:
        """Does nothing."""

    async def record(self, event: AuditEvent) -> None:
        """Does nothing."""
