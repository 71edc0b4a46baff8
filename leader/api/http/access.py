"""Routes for tokens and certificates."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from joblog.leader.access import records, usage
from joblog.leader.access.audit import AuditEvent
from joblog.leader.access.issuing import MAX_LIFETIME_SECONDS, MAX_QUOTA, Wanted, record_or_undo, token_event
from joblog.leader.access.principal import Principal, current
from joblog.leader.access.roles import GLOB, MAX_GLOB_LENGTH, MAX_GLOBS, ROLES, check_grant
from joblog.leader.api.http.catalog import Cursor, Limit
from joblog.leader.api.http.context import Context
from joblog.leader.api.http.words import moment

router = APIRouter(prefix="/api/v1", tags=["access"])


class Grant(BaseModel):
    """A role on the namespaces that any of the globs matches."""

    role: str
    namespaces: list[str]


class WhoAmI(BaseModel):
    """Who the leader takes the caller for."""

    kind: str = Field(description="token, worker, session, or open: access control is off")
    name: str
    grants: list[Grant]
    permissions: list[str] = Field(description="What it may do somewhere at least")
    expires_at: str | None


class Quota(BaseModel):
    """What a token's holder may use; 0: no limit."""

    bytes_per_day: int = Field(default=0, ge=0, le=MAX_QUOTA)
    live_logs: int = Field(default=0, ge=0, le=MAX_QUOTA)
    stored_bytes: int = Field(default=0, ge=0, le=MAX_QUOTA)
    requests_per_second: int = Field(default=0, ge=0, le=MAX_QUOTA)


class Use(BaseModel):
    """What counts for quotas now."""

    bytes_today: int = Field(description="Since midnight UTC, before compression")
    live_logs: int = Field(description="Live and interrupted ones")
    stored_bytes: int


class Token(BaseModel):
    """A token, without its secret."""

    id: str
    name: str
    grants: list[Grant]
    worker_id: str = Field(description="The only worker that may use it; empty: not bound to one")
    created_at: str | None
    expires_at: str | None
    last_used_at: str | None
    revoked_at: str | None
    created_by: str
    quota: Quota
    use: Use

    @classmethod
    def of(cls, record: records.TokenRecord, use: usage.Use) -> Token:
        """From a record."""
        return cls(
            id=record.id,
            name=record.name,
            grants=[Grant(role=grant.role, namespaces=list(grant.namespaces)) for grant in record.grants],
            worker_id=record.worker_id,
            created_at=moment(record.created_ns),
            expires_at=moment(record.expires_ns),
            last_used_at=moment(record.last_used_ns),
            revoked_at=moment(record.revoked_ns),
            created_by=record.created_by,
            quota=Quota(**{name: getattr(record.quota, name) for name in records.Quota.__slots__}),
            use=Use(**dataclasses.asdict(use)),
        )


class Tokens(BaseModel):
    """A page of tokens."""

    tokens: list[Token]
    next_cursor: str


_Glob = Annotated[str, Field(json_schema_extra={"pattern": f"^{GLOB}$", "maxLength": MAX_GLOB_LENGTH})]


class GrantWanted(BaseModel):
    """A role on the namespaces that any of the globs matches; without any, on all of them."""

    role: str = Field(json_schema_extra={"pattern": f"^({'|'.join(ROLES)})$"})
    namespaces: list[_Glob] = Field(max_length=MAX_GLOBS)


class TokenWanted(BaseModel):
    """A token to make."""

    name: str = Field(min_length=1, max_length=100)
    grants: list[GrantWanted] = Field(min_length=1, max_length=100)
    worker_id: str = Field(default="", max_length=250)
    lifetime_seconds: int = Field(default=0, ge=0, le=MAX_LIFETIME_SECONDS, description="0: it never expires")
    quota: Quota = Quota()
    address: str = Field(
        default="", max_length=300, description="HOST:PORT that is put into the token; empty: as the leader sees itself"
    )


class NewToken(BaseModel):
    """A token that was made."""

    token: Token
    secret: str = Field(description="Shown this once; the leader keeps a hash")


class Certificate(BaseModel):
    """A worker's client certificate."""

    serial: str
    worker_id: str
    token_id: str
    issued_at: str | None
    expires_at: str | None
    revoked_at: str | None

    @classmethod
    def of(cls, record: records.CertificateRecord) -> Certificate:
        """From a record."""
        return cls(
            serial=record.serial,
            worker_id=record.worker_id,
            token_id=record.token_id,
            issued_at=moment(record.issued_ns),
            expires_at=moment(record.expires_ns),
            revoked_at=moment(record.revoked_ns),
        )


class Certificates(BaseModel):
    """A page of certificates."""

    certificates: list[Certificate]
    next_cursor: str


@router.get("/whoami")
async def whoami() -> WhoAmI:
    """Who the leader takes the caller for, and what it may do."""
    return who_is(current())


def who_is(principal: Principal) -> WhoAmI:
    """What is said of a principal."""
    return WhoAmI(
        kind=principal.kind,
        name=principal.name,
        grants=[Grant(role=grant.role, namespaces=list(grant.namespaces)) for grant in principal.grants],
        permissions=[str(permission) for permission in principal.permissions()],
        expires_at=moment(principal.expires_ns),
    )


@router.get("/tokens")
async def list_tokens(context: Context, limit: Limit = 100, cursor: Cursor = "") -> Tokens:
    """Tokens that the caller could have made, newest first, revoked and expired ones too."""
    found = await asyncio.to_thread(context.issuer.tokens, current(), cursor, limit)
    return Tokens(
        tokens=[Token.of(record, context.issuer.use(record.id)) for record in found.tokens],
        next_cursor=found.next_token,
    )


@router.post("/tokens", status_code=201)
async def create_token(context: Context, wanted: TokenWanted) -> NewToken:
    """Makes a token that may do at most what the caller may."""
    principal = current()
    asked = Wanted(
        wanted.name,
        tuple(check_grant(grant.role, grant.namespaces) for grant in wanted.grants),
        wanted.worker_id,
        wanted.lifetime_seconds,
        records.Quota(**wanted.quota.model_dump()),
        wanted.address,
    )
    record, text = await asyncio.to_thread(context.issuer.create, principal, asked)
    event = token_event("token.create", principal, record)
    await record_or_undo(context.gate.auditor, event, lambda: context.issuer.revoke(principal, record.id))
    return NewToken(token=Token.of(record, context.issuer.use(record.id)), secret=text)


@router.delete("/tokens/{token_id}")
async def revoke_token(context: Context, token_id: str) -> Token:
    """Revokes a token with the certificates and sessions that it brought forth. Can be repeated."""
    principal = current()
    record = await asyncio.to_thread(context.issuer.revoke, principal, token_id)
    await context.gate.auditor.record(token_event("token.revoke", principal, record))
    return Token.of(record, context.issuer.use(record.id))


@router.get("/certificates")
async def list_certificates(context: Context, limit: Limit = 100, cursor: Cursor = "") -> Certificates:
    """Certificates of workers, newest first, expired and revoked ones too."""
    found, following = await asyncio.to_thread(context.issuer.certificates, cursor, limit)
    return Certificates(certificates=[Certificate.of(record) for record in found], next_cursor=following)


@router.delete("/certificates")
async def revoke_certificate(
    context: Context,
    serial: Annotated[str, Query(max_length=64, description="The one with this serial number,")] = "",
    worker_id: Annotated[str, Query(max_length=250, description="or all of this worker")] = "",
) -> Certificates:
    """Revokes certificates; streams that came with them end. Can be repeated."""
    principal = current()
    found = await asyncio.to_thread(lambda: context.issuer.revoke_certificates(serial=serial, worker_id=worker_id))
    event = AuditEvent("certificate.revoke", principal, "ok", serial or worker_id, principal.peer)
    await context.gate.auditor.record(event)
    return Certificates(certificates=[Certificate.of(record) for record in found], next_cursor="")
