"""What is known of an OpenID Connect provider, and of those whom it knows."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from joblog.leader.access.oidc_grants import GroupGrant


@dataclass(frozen=True, slots=True)
class OidcOptions:
    """name: of this way to sign in, for people. ca_file: whom to trust instead of the system's CAs."""

    issuer: str
    client_id: str
    client_secret: str = field(default="", repr=False)
    name: str = "Single sign-on"
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    groups_claim: str = "groups"
    grants: tuple[GroupGrant, ...] = ()
    ca_file: Path | None = None
    timeout_seconds: float = 10.0
    clock_skew_seconds: float = 60.0

    @property
    def origin(self) -> str:
        """What vouches for sessions: another text once another provider, or other grants, are set."""
        grants = sorted([one.group, one.grant.role, *one.grant.namespaces] for one in self.grants)
        text = json.dumps([self.issuer, self.client_id, self.groups_claim, grants])
        return f"oidc:{hashlib.sha256(text.encode()).hexdigest()[:16]}"


class Request(NamedTuple):
    """Somebody who is sent to the provider: to which address, and by what it is known that the answer is theirs."""

    url: str
    state: str
    nonce: str
    verifier: str
    redirect_uri: str


class Identity(NamedTuple):
    """Whom the provider says somebody is. subject: its name for them, which never changes."""

    subject: str
    name: str
    groups: tuple[str, ...]
