"""How a worker gets at its leader: it joins with a token, gets a certificate for a key of its own, and renews it."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import random
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import grpc

from joblog.address import KnownLeader, LeaderFile, check_address, read_leader_file, trust_for
from joblog.channel import open_channel
from joblog.errors import InvalidInput, JoblogError, NotAuthenticated, NotFound
from joblog.handshake import resolved
from joblog.paths import DataFolder
from joblog.replies import error_from
from joblog.trust import Trust, fingerprint_of
from joblog.v1 import access_pb2, access_pb2_grpc
from joblog.worker.identity_files import Identity, IdentityFiles, new_key, request_for
from joblog.worker.source import JoinSource

log = logging.getLogger(__name__)

CALL_SECONDS = 15.0
# A leader may listen elsewhere for workers than it said; asking it makes a certificate, so not too often.
ASK_AGAIN_SECONDS = 60.0
FAILURES_BEFORE_ASKING = 3
_RENEW_SHARE = 2 / 3
_JITTER_SHARE = 0.1


class Membership:
    """Belongs to one worker; several processes of one data folder may have one each. Its methods block."""

    def __init__(
        self,
        folder: DataFolder,
        worker_id: str,
        source: JoinSource,
        *,
        clock: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._folder = folder
        self._files = IdentityFiles(folder.worker_identity)
        self._worker_id = worker_id
        self._source = source
        self._clock = clock
        self._jitter = jitter
        self._unusable = ""
        self._failures = 0
        self._asked = float("-inf")

    # Where to connect

    def leader(self) -> KnownLeader:
        """Where to push to, and what to show there; joins when there is no certificate that is good.

        Raises NotFound where no leader is known, Unavailable when it can't be reached, Denied when it can't be trusted
        or does not take this worker.
        """
        self._source = self._source.read_again()
        local = self._local()
        main = self._main(local)
        if main.trust.plaintext:
            return main
        identity = self._usable(main)
        if identity is None or self._is_to_ask_again(local):
            identity = self._join(main, identity)
        workers = local.workers_address if local is not None and local.grpc_address == main.address else ""
        return KnownLeader(workers or identity.workers_address, self._trust(identity, main))

    def failed(self, error: JoblogError) -> None:
        """There was no connection to what leader() gave."""
        self._failures += 1
        if isinstance(error, NotAuthenticated):
            identity = self._files.read()
            if identity is not None:
                self._unusable = identity.serial

    def succeeded(self) -> None:
        """There was one."""
        self._failures = 0
        self._unusable = ""

    def _is_to_ask_again(self, local: LeaderFile | None) -> bool:
        return (
            local is None
            and self._failures >= FAILURES_BEFORE_ASKING
            # In turn with the address that is known: one of the two may be out of reach.
            and (self._failures - FAILURES_BEFORE_ASKING) % 2 == 0
            and time.monotonic() - self._asked > ASK_AGAIN_SECONDS
        )

    def _trust(self, identity: Identity, main: KnownLeader) -> Trust:
        return Trust(
            ca=identity.ca,
            server_name=main.trust.server_name,
            certificate=identity.chain,
            key=identity.key,
        )

    def _local(self) -> LeaderFile | None:
        """The leader that runs in this data folder, where nothing names another one."""
        try:
            found = read_leader_file(self._folder.root)
        except (NotFound, InvalidInput):
            return None
        asked = self._source.address
        return found if not asked or asked == found.grpc_address else None

    def _main(self, local: LeaderFile | None) -> KnownLeader:
        """The listener for everybody, where workers join, and what a client may show there."""
        source = self._source
        token = source.any_token
        address = source.address
        if not address and local is not None:
            address = local.grpc_address
        saved = None
        if not address or (token is None and local is None):
            saved = self._files.read()
            if saved is not None and (not address or saved.leader == address):
                address = saved.leader
                token = token or saved.parsed_token()
        if not address:
            raise NotFound(
                f"no leader runs in {self._folder.root}, and this worker has not joined one: start it with --join and "
                "a token that `joblog token create --role writer` prints, or start a leader here"
            )
        trust = trust_for(check_address(address), self._folder.root, token, os.environ)
        return KnownLeader(address, replace(trust, plaintext=trust.plaintext or source.plaintext))

    def _usable(self, main: KnownLeader) -> Identity | None:
        """The identity that is there, if it is good for this leader."""
        identity = self._files.read()
        if identity is None or identity.worker_id != self._worker_id or identity.serial == self._unusable:
            return None
        if identity.expires <= self._clock():
            return None
        join = self._source.join
        trust = main.trust
        # A token of another leader is not shown to the one that runs here.
        if join is not None and join.text == trust.token and join.id != identity.token_id:
            return None
        wanted = trust.fingerprint or fingerprint_of(trust.ca)
        if (wanted or not identity.ca) and wanted != fingerprint_of(identity.ca):
            return None
        if not wanted and identity.leader != main.address:
            return None
        return identity

    # Joining and renewing

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Only one process of this worker joins or renews at a time."""
        # The folder of all that the worker keeps is there, and can be locked even where the disk is full.
        fd = os.open(self._folder.worker, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def _join(self, main: KnownLeader, before: Identity | None) -> Identity:
        with self._locked():
            found = self._usable(main)
            if found is not None and (before is None or found.serial != before.serial):
                return found
            if not main.trust.token:
                raise NotAuthenticated(
                    f"this worker has no certificate of the leader at {main.address}, and no token to join with: give "
                    "it one with --join, --join-file or JOBLOG_JOIN_TOKEN; see `joblog token create`"
                )
            trust = resolved(main.address, main.trust)
            key = new_key()
            request = access_pb2.JoinRequest(
                worker_id=self._worker_id, request=request_for(key), host=socket.gethostname()
            )
            answer = _call(KnownLeader(main.address, trust), "Join", request)
            if before is not None:
                self._asked = time.monotonic()
            identity = self._taken(key, answer, main.address, trust.token)
            log.info("worker %s has joined the leader at %s", self._worker_id, main.address)
            return identity

    def _taken(self, key: bytes, answer: access_pb2.JoinResponse, leader: str, token: str) -> Identity:
        workers = answer.workers_address or f"{leader.rpartition(':')[0]}:{answer.workers_port}"
        return self._files.write(
            key,
            chain=answer.certificate_chain,
            ca=answer.ca,
            worker_id=self._worker_id,
            leader=leader,
            workers_address=check_address(workers),
            token=token,
        )

    def renew_in(self) -> float | None:
        """Seconds until the certificate is to be renewed, after two thirds of its life or sooner. None: none."""
        identity = self._files.read()
        if identity is None or identity.worker_id != self._worker_id:
            return None
        life = identity.expires - identity.since
        share = _RENEW_SHARE - _JITTER_SHARE * self._jitter()
        return max(0.0, identity.since + share * life - self._clock())

    def renew(self) -> bool:
        """Gets the next certificate; False when another process just did. Raises JoblogError; the old one stays."""
        before = self._files.read()
        if before is None:
            raise NotFound("there is no certificate to renew")
        with self._locked():
            identity = self._files.read()
            if identity is None or identity.serial != before.serial:
                return False
            local = self._local()
            workers = (local.workers_address if local is not None else "") or identity.workers_address
            name = local.server_name if local is not None else ""
            trust = Trust(ca=identity.ca, server_name=name, certificate=identity.chain, key=identity.key)
            request = access_pb2.RenewRequest(request=request_for(identity.key))
            answer = _call(KnownLeader(workers, trust), "Renew", request)
            self._taken(identity.key, answer, identity.leader, identity.token)
            return True


def _call(leader: KnownLeader, method: str, request: Any) -> access_pb2.JoinResponse:
    channel = open_channel(*leader)
    try:
        stub = access_pb2_grpc.AccessStub(channel)  # type: ignore[no-untyped-call]
        answer: access_pb2.JoinResponse = getattr(stub, method)(request, timeout=CALL_SECONDS)
    except grpc.RpcError as error:
        raise error_from(error, leader) from None
    finally:
        channel.close()
    return answer
