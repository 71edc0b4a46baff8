"""The gRPC service Access; see access.proto."""

# ruff: noqa: ARG002, N802 - gRPC gives the names and signatures of methods

from __future__ import annotations

import asyncio
from collections.abc import Callable

from joblog.errors import Conflict
from joblog.leader.access.audit import AuditEvent
from joblog.leader.access.issuing import Issuer, Wanted, record_or_undo, token_event
from joblog.leader.access.principal import current
from joblog.leader.access.records import CertificateRecord, Quota, TokenRecord
from joblog.leader.access.roles import check_grant
from joblog.leader.access.usage import Use
from joblog.leader.api.errors import Context, answers
from joblog.leader.api.gate import Gate
from joblog.leader.api.joining import Joining
from joblog.leader.api.paging import page_size
from joblog.leader.api.signing_in import SignIn
from joblog.v1 import access_pb2, access_pb2_grpc


class AccessService(access_pb2_grpc.AccessServicer):
    """Answers who makes tokens and who joins. joining: None where the leader gives no certificates.

    url: where browsers find the leader; empty where it serves no HTTP.
    """

    def __init__(
        self,
        issuer: Issuer,
        gate: Gate,
        sign_in: SignIn,
        joining: Joining | None = None,
        *,
        url: Callable[[], str] = str,
    ) -> None:
        self._issuer = issuer
        self._gate = gate
        self._sign_in = sign_in
        self._joining = joining
        self._url = url

    @answers
    async def Join(self, request: access_pb2.JoinRequest, context: Context) -> access_pb2.JoinResponse:
        """A worker's first certificate."""
        principal = current()
        reply = await self._needed().join(principal, request)
        self._gate.auditor.note(AuditEvent("join", principal, "ok", request.worker_id, principal.peer))
        return reply

    @answers
    async def Renew(self, request: access_pb2.RenewRequest, context: Context) -> access_pb2.JoinResponse:
        """A worker's next certificate."""
        return await self._needed().renew(current(), request)

    def _needed(self) -> Joining:
        if self._joining is None:
            raise Conflict("this leader gives no certificates")
        return self._joining

    @answers
    async def WhoAmI(self, request: access_pb2.WhoAmIRequest, context: Context) -> access_pb2.WhoAmIResponse:
        """Who the caller is."""
        principal = current()
        return access_pb2.WhoAmIResponse(
            kind=principal.kind,
            name=principal.name,
            grants=[access_pb2.Grant(role=grant.role, namespaces=grant.namespaces) for grant in principal.grants],
            permissions=principal.permissions(),
            expires_ns=principal.expires_ns,
        )

    @answers
    async def CreateSignInCode(
        self, request: access_pb2.CreateSignInCodeRequest, context: Context
    ) -> access_pb2.CreateSignInCodeResponse:
        """A link's code."""
        return access_pb2.CreateSignInCodeResponse(code=self._sign_in.new_code(current()), url=self._url())

    @answers
    async def CreateToken(
        self, request: access_pb2.CreateTokenRequest, context: Context
    ) -> access_pb2.CreateTokenResponse:
        """A new token."""
        principal = current()
        wanted = Wanted(
            request.name,
            tuple(check_grant(grant.role, grant.namespaces) for grant in request.grants),
            request.worker_id,
            request.lifetime_seconds,
            Quota(**{name: getattr(request.quota, name) for name in Quota.__slots__}),
            request.address,
        )
        record, text = await asyncio.to_thread(self._issuer.create, principal, wanted)
        await record_or_undo(
            self._gate.auditor,
            token_event("token.create", principal, record),
            lambda: self._issuer.revoke(principal, record.id),
        )
        return access_pb2.CreateTokenResponse(token=self._token(record), secret=text)

    @answers
    async def ListTokens(
        self, request: access_pb2.ListTokensRequest, context: Context
    ) -> access_pb2.ListTokensResponse:
        """Tokens, newest first."""
        found = await asyncio.to_thread(
            self._issuer.tokens, current(), request.page_token, page_size(request.page_size)
        )
        return access_pb2.ListTokensResponse(tokens=map(self._token, found.tokens), next_page_token=found.next_token)

    @answers
    async def RevokeToken(self, request: access_pb2.RevokeTokenRequest, context: Context) -> access_pb2.Token:
        """Revokes a token."""
        principal = current()
        record = await asyncio.to_thread(self._issuer.revoke, principal, request.id)
        await self._gate.auditor.record(token_event("token.revoke", principal, record))
        return self._token(record)

    def _token(self, record: TokenRecord) -> access_pb2.Token:
        return _token(record, self._issuer.use(record.id))

    @answers
    async def ListCertificates(
        self, request: access_pb2.ListCertificatesRequest, context: Context
    ) -> access_pb2.ListCertificatesResponse:
        """Certificates, newest first."""
        found, following = await asyncio.to_thread(
            self._issuer.certificates, request.page_token, page_size(request.page_size)
        )
        return access_pb2.ListCertificatesResponse(certificates=map(_certificate, found), next_page_token=following)

    @answers
    async def RevokeCertificate(
        self, request: access_pb2.RevokeCertificateRequest, context: Context
    ) -> access_pb2.Certificate:
        """Revokes one certificate, or all of a worker; gives the newest of them."""
        principal = current()
        serial, worker_id = request.serial, request.worker_id
        found = await asyncio.to_thread(lambda: self._issuer.revoke_certificates(serial=serial, worker_id=worker_id))
        subject = serial or worker_id
        await self._gate.auditor.record(AuditEvent("certificate.revoke", principal, "ok", subject, principal.peer))
        return _certificate(found[0])


def _token(record: TokenRecord, use: Use) -> access_pb2.Token:
    quota = {name: getattr(record.quota, name) for name in Quota.__slots__}
    return access_pb2.Token(
        id=record.id,
        name=record.name,
        grants=[access_pb2.Grant(role=grant.role, namespaces=grant.namespaces) for grant in record.grants],
        worker_id=record.worker_id,
        created_ns=record.created_ns,
        expires_ns=record.expires_ns,
        last_used_ns=record.last_used_ns,
        revoked_ns=record.revoked_ns,
        created_by=record.created_by,
        quota=access_pb2.Quota(**quota) if any(quota.values()) else None,
        use=access_pb2.Use(bytes_today=use.bytes_today, live_logs=use.live_logs, stored_bytes=use.stored_bytes),
    )


def _certificate(record: CertificateRecord) -> access_pb2.Certificate:
    return access_pb2.Certificate(
        serial=record.serial,
        worker_id=record.worker_id,
        token_id=record.token_id,
        issued_ns=record.issued_ns,
        expires_ns=record.expires_ns,
        revoked_ns=record.revoked_ns,
    )
