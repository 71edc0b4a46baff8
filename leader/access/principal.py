"""Who makes a request, as far as the leader knows."""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass

from joblog.errors import Denied
from joblog.leader.access.roles import NAMESPACED, ROLES, Grant, Permission


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who was recognised.

    kind: "token", "worker" (by its certificate), "session" (a browser), "open" (access control is off).
    name: for people and the audit log. id: the token's, the certificate's serial, the session's; never a secret.
    worker_id: the only worker as which it may push; empty: not bound to one. token_id: the token behind it, if any.
    expires_ns: when what it was recognised by ends; 0: never. peer: the address that the request came from.
    rights_end_ns: when what it may do ends, however often it is recognised anew; 0: never; None: with expires_ns. A
    browser's session ends sooner than the rights of whoever signs in again.
    """

    kind: str
    name: str
    id: str
    grants: tuple[Grant, ...] = ()
    worker_id: str = ""
    token_id: str = ""
    peer: str = ""
    expires_ns: int = 0
    rights_end_ns: int | None = None

    @property
    def grants_until_ns(self) -> int:
        """Until when it may hand on what it may do; 0: for ever."""
        return self.expires_ns if self.rights_end_ns is None else self.rights_end_ns

    def may(self, permission: Permission, namespace: str | None = None) -> bool:
        """Whether it may do it; namespace: where, for what is granted on namespaces. None: everywhere."""
        return any(grant.permits(permission, namespace) for grant in self.grants)

    def may_somewhere(self, permission: Permission) -> bool:
        """Whether there is a namespace where it may do it."""
        return any(permission in ROLES[grant.role] for grant in self.grants)

    def require(self, permission: Permission, namespace: str | None = None) -> None:
        """Raises Denied when it may not."""
        if not self.may(permission, namespace):
            raise self.refusal(permission, namespace)

    def refusal(self, permission: Permission, namespace: str | None = None) -> Denied:
        """The error for what it may not do; the same whether there is anything in the namespace or not."""
        where = f" in namespace {namespace[:60]!r}" if namespace is not None and permission in NAMESPACED else ""
        return Denied(f"{self.kind} {self.name!r} has no permission {permission}{where}: ask an admin for a role")

    def includes(self, grants: Iterable[Grant]) -> bool:
        """Whether it may do all that the grants permit; in doubt not."""
        return all(any(own.includes(grant) for own in self.grants) for grant in grants)

    def permissions(self) -> list[Permission]:
        """What it may do somewhere at least."""
        return [permission for permission in Permission if self.may_somewhere(permission)]


# What a leader without access control takes everybody for.
EVERYBODY = Principal("open", "everybody", "", (Grant("admin", ("*", "@*")),))

# Of the request that the running task answers; set by the gate alone.
CURRENT: ContextVar[Principal] = ContextVar("joblog_principal")


def current() -> Principal:
    """Who makes the request that is being answered. Raises Denied where nobody was recognised."""
    try:
        return CURRENT.get()
    except LookupError:
        raise Denied("nobody was recognised for this request") from None
