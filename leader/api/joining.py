"""Certificates for workers: the first one for a token, each later one for the one before."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import NamedTuple

from joblog.errors import Conflict, Denied, InvalidInput, NotAuthenticated
from joblog.leader.access.authority import Authority
from joblog.leader.access.principal import Principal
from joblog.leader.access.roles import Permission
from joblog.leader.access.shown import ServerCertificate
from joblog.leader.access.store import AccessStore
from joblog.v1 import access_pb2

log = logging.getLogger(__name__)

MAX_WORKER_ID_LENGTH = 250


class WorkersListener(NamedTuple):
    """Where workers find the leader. address: HOST:PORT to use in place of the host that was asked; may be empty."""

    port: int
    address: str = ""


class Joining:
    """Answers Access.Join and Access.Renew. pool: where the store is waited for.

    server: None where the leader speaks plaintext; then there is nothing to join for, and workers show their tokens.
    """

    def __init__(
        self,
        store: AccessStore,
        authority: Authority,
        server: ServerCertificate | None,
        pool: Executor,
        *,
        lifetime_seconds: float,
        listener: Callable[[], WorkersListener],
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._store = store
        self._authority = authority
        self._server = server
        self._pool = pool
        self._lifetime_seconds = lifetime_seconds
        self._listener = listener
        self._clock = clock

    async def join(self, principal: Principal, request: access_pb2.JoinRequest) -> access_pb2.JoinResponse:
        """The first certificate of a worker, for the holder of a token that may write somewhere.

        Raises Denied when the token is bound to another worker, or another token's holder has this worker's id.
        """
        worker_id = request.worker_id
        if not 1 <= len(worker_id) <= MAX_WORKER_ID_LENGTH or not worker_id.isprintable():
            raise InvalidInput(f"worker_id: must have 1 to {MAX_WORKER_ID_LENGTH} printable characters")
        if not principal.may_somewhere(Permission.LOG_WRITE):
            raise Denied(f"{principal.kind} {principal.name!r} may write nowhere: a worker needs a token of a writer")
        if principal.worker_id and principal.worker_id != worker_id:
            raise Denied(
                f"{principal.kind} {principal.name!r} is for worker {principal.worker_id!r}, not for {worker_id!r}: "
                "ask for a token for this one"
            )
        answer = await self._answer(principal, worker_id, request.request, is_new=True)
        log.info("worker %s on %s has joined with token %s", worker_id, request.host[:250], principal.token_id)
        return answer

    async def renew(self, principal: Principal, request: access_pb2.RenewRequest) -> access_pb2.JoinResponse:
        """The next certificate of a worker that shows the one it has."""
        if principal.kind != "worker":
            raise Denied("only a worker can renew, with its certificate, at the address for workers")
        return await self._answer(principal, principal.worker_id, request.request, is_new=False)

    async def _answer(
        self, principal: Principal, worker_id: str, request: bytes, *, is_new: bool
    ) -> access_pb2.JoinResponse:
        server = self._server
        if server is None:
            raise Conflict("this leader speaks plaintext: workers show their tokens, and get no certificates")
        if server.is_foreign:
            raise Conflict("certificates of this leader's workers come from tls.client_ca_file, not from the leader")
        work = asyncio.get_running_loop().run_in_executor(
            self._pool, self._issue, server, principal, worker_id, request, is_new
        )
        return await work

    def _issue(
        self, server: ServerCertificate, principal: Principal, worker_id: str, request: bytes, is_new: bool
    ) -> access_pb2.JoinResponse:
        if is_new:
            self._check_id(principal, worker_id)
        issued = self._authority.issue(request, worker_id, self._lifetime_seconds)
        try:
            self._store.add_certificate(issued.serial, worker_id, principal.token_id, issued.expires_ns)
        except Conflict as error:
            raise NotAuthenticated(str(error)) from None
        listener = self._listener()
        return access_pb2.JoinResponse(
            certificate_chain=issued.chain,
            ca=server.current().ca,
            expires_ns=issued.expires_ns,
            workers_port=listener.port,
            workers_address=listener.address,
        )

    def _check_id(self, principal: Principal, worker_id: str) -> None:
        """An id is its worker's own: another token may have it only when that was made for this worker."""
        if principal.worker_id == worker_id or principal.may(Permission.WORKERS_MANAGE):
            return
        now = self._clock()
        for certificate in self._store.certificates_of(worker_id):
            if certificate.is_good(now) and certificate.token_id != principal.token_id:
                raise Denied(
                    f"worker {worker_id!r} has joined with another token: revoke that one or its certificates, or ask "
                    "for a token that is bound to this worker"
                )
