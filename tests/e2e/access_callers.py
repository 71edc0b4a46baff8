"""Those who call a leader in the tests of access: one of each role, and those whom it must not know."""

from __future__ import annotations

from dataclasses import dataclass

from joblog.leader.access.recognition import Recogniser
from joblog.leader.access.roles import Grant
from joblog.leader.access.store import AccessStore
from joblog.leader.api.gate import Gate
from joblog.leader.api.http.cookies import SESSION, Cookies
from joblog.token import Token

# The namespace that callers have their roles on, and one that they have nothing to do with.
OWN, OTHER = "team-a", "team-b"
ROLES_WHOLE = ("admin", "operator", "reader", "viewer", "writer")
ROLES_OWN = tuple(f"{role} of {OWN}" for role in ROLES_WHOLE)
UNKNOWN = ("nobody", "garbage", "wrong secret", "revoked", "expired")


@dataclass
class Callers:
    """Tokens by the caller's name; None shows nothing."""

    tokens: dict[str, str | None]
    ids: dict[str, str]

    def metadata(self, caller: str) -> tuple[tuple[str, str], ...]:
        """What goes with a gRPC call."""
        token = self.tokens[caller]
        return () if token is None else (("authorization", f"Bearer {token}"),)

    def headers(self, caller: str) -> dict[str, str]:
        """What goes with an HTTP request."""
        return dict(self.metadata(caller))


def closed_gate(store: AccessStore) -> Gate:
    """A gate that asks everybody."""
    return Gate(store, Recogniser(store))


def make_callers(store: AccessStore) -> Callers:
    """One of each role on everything, one of each on OWN, and the unknown."""
    callers = Callers({}, {})

    def make(caller: str, grant: Grant, **options: int) -> None:
        record, secret = store.create_token(caller, [grant], created_by="test", **options)  # type: ignore[arg-type]
        callers.tokens[caller] = Token(record.id, secret).text
        callers.ids[caller] = record.id

    for role, of_own in zip(ROLES_WHOLE, ROLES_OWN, strict=True):
        make(role, Grant(role))
        make(of_own, Grant(role, (OWN,)))
    make("revoked", Grant("admin"))
    store.revoke_token(callers.ids["revoked"])
    make("expired", Grant("admin"), lifetime_seconds=-1)
    make("wrong secret", Grant("admin"))
    callers.tokens["wrong secret"] = Token(callers.ids["wrong secret"], bytes(32)).text
    callers.tokens["garbage"] = "jl1.garbage"
    callers.tokens["nobody"] = None
    return callers


def make_cookies(store: AccessStore) -> dict[str, str]:
    """What a browser sends, by the caller's name: sessions of each role, and those that do not count."""
    callers = make_callers(store)
    name = Cookies("leader-1").name(SESSION, {"scheme": "http"})
    cookies = {}

    def sign_in(caller: str, token: str, lifetime_seconds: float = 60) -> str:
        grants = tuple(found.grants) if (found := store.find_token(callers.ids[token])) else ()
        session, secret = store.sessions.create(
            caller, grants, origin=callers.ids[token], lifetime_seconds=lifetime_seconds
        )
        cookies[caller] = f"{name}={secret}"
        return session.id

    for role in (*ROLES_WHOLE, *ROLES_OWN):
        sign_in(role, role)
    sign_in("expired", "admin", -1)
    store.sessions.revoke(sign_in("revoked", "admin"))
    session_id = sign_in("wrong secret", "admin")
    cookies["wrong secret"] = f"{name}={session_id}.{'A' * 43}"
    cookies["garbage"] = f'{name}="garbage"; {name}'
    cookies["nobody"] = "other=1"
    return cookies
