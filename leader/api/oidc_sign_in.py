"""Signing in at a provider: what a browser carries there and back, and whose session comes of it."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from joblog.errors import Denied, JoblogError, NotAuthenticated, TooMany, Unavailable
from joblog.leader.access.oidc_grants import grants_of
from joblog.leader.access.oidc_options import Identity, Request
from joblog.leader.api.gate import Gate
from joblog.leader.api.signing_in import SignedIn, SignIn
from joblog.service import Service

if TYPE_CHECKING:
    # Its library is installed where it is used.
    from joblog.leader.access.oidc_provider import OidcProvider

log = logging.getLogger(__name__)

T = TypeVar("T")

WAY_SECONDS = 600
_THREADS = 4
_MAX_WAITING = 50
_MAX_USED = 100_000
_NONCE_BYTES = 12
_MAX_COOKIE = 4096


class Begun(NamedTuple):
    """url: where the browser goes. cookie: what it must bring back."""

    url: str
    cookie: str


class _OnTheWay(NamedTuple):
    """What a cookie holds. to: where in the UI the browser goes in the end. until: seconds since 1970."""

    request: Request
    to: str
    until: float


class TooLate(NotAuthenticated):
    """The browser brings back nothing that it was given, or too late: it is to begin again."""


class ProviderRefused(Denied):
    """The provider says no, or whoever was asked to sign in there left."""


class OidcSignIn(Service):
    """Belongs to the event loop; the provider is asked in threads. clock: seconds since 1970.

    What a browser carries is sealed with a key that lives as long as the process, so that nothing waits in memory for
    browsers that never come back.
    """

    name = "oidc"

    def __init__(
        self, provider: OidcProvider, sign_in: SignIn, gate: Gate, clock: Callable[[], float] = time.time
    ) -> None:
        self.provider = provider
        self._sign_in = sign_in
        self._gate = gate
        self._clock = clock
        self._cipher = AESGCM(secrets.token_bytes(32))
        self._threads = ThreadPoolExecutor(_THREADS, "oidc")
        self._waiting = 0
        # States that came back, until they are too old anyway; the oldest first.
        self._used: dict[str, float] = {}

    async def stop(self) -> None:
        """Waits for nobody."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def begin(self, to: str, redirect_uri: str) -> Begun:
        """Sends a browser to the provider. Raises Unavailable, NotAuthenticated, TooMany."""
        request = await self._ask(lambda: self.provider.begin(redirect_uri))
        said = json.dumps([*request[1:], to, self._clock() + WAY_SECONDS]).encode()
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, said, None)
        return Begun(request.url, base64.urlsafe_b64encode(sealed).decode())

    async def finish(self, answer: Mapping[str, str], cookie: str, peer: str) -> SignedIn:
        """A session for who came back. answer: the parameters that the provider sent along. Raises JoblogError."""
        attempts = self._gate.recogniser.attempts if self._gate.recogniser else None
        try:
            if attempts is not None:
                attempts.check(peer)
            way = self._open(cookie)
            self._use(way, answer.get("state", ""))
            identity = await self._identity(answer, way)
            grants = grants_of(identity.groups, self.provider.options.grants)
            if not grants:
                raise Denied(f"{identity.name!r} is in no group that is granted anything here (oidc.grants)")
        except JoblogError as error:
            if attempts is not None and type(error) is NotAuthenticated:
                attempts.failed(peer)
            self._sign_in.refused("oidc", error, peer)
            log.warning("a sign-in at %s failed: %s", self.provider.options.issuer, error)
            raise
        return await self._sign_in.by_provider(
            identity.name, grants, self.provider.options.origin, peer, {"subject": identity.subject}
        )

    def to(self, cookie: str) -> str:
        """Where in the UI a browser wanted to go, as far as its cookie says; "/" otherwise."""
        try:
            return self._open(cookie).to
        except TooLate:
            return "/"

    def _open(self, cookie: str) -> _OnTheWay:
        try:
            sealed = base64.urlsafe_b64decode(cookie[:_MAX_COOKIE].encode())
            said = json.loads(self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], None))
        except (ValueError, InvalidTag):
            raise TooLate("the browser brings back nothing that it was given here: sign in again") from None
        state, nonce, verifier, redirect_uri, to, until = said
        if until <= self._clock():
            raise TooLate(f"signing in took longer than {WAY_SECONDS // 60} minutes: begin again")
        return _OnTheWay(Request("", state, nonce, verifier, redirect_uri), to, until)

    def _use(self, way: _OnTheWay, state: str) -> None:
        """Raises TooLate where the answer belongs to another request, or came already."""
        now = self._clock()
        while self._used and (next(iter(self._used.values())) <= now or len(self._used) >= _MAX_USED):
            del self._used[next(iter(self._used))]
        mine = way.request.state
        if not hmac.compare_digest(mine.encode(), state.encode(errors="replace")):
            raise TooLate("the answer belongs to another request to sign in: begin again")
        if mine in self._used:
            raise TooLate("the answer came already: sign in again")
        self._used[mine] = way.until

    async def _identity(self, answer: Mapping[str, str], way: _OnTheWay) -> Identity:
        if "error" in answer:
            raise ProviderRefused(f"the provider says {answer['error'][:60]!r}")
        code = answer.get("code")
        if not code:
            raise NotAuthenticated("the provider's answer has no code")
        return await self._ask(lambda: self.provider.finish(code, way.request, answer.get("iss")))

    async def _ask(self, work: Callable[[], T]) -> T:
        if self._waiting >= _MAX_WAITING:
            raise TooMany("too many sign in at the provider now: try again", 5)
        self._waiting += 1
        try:
            # Discovery, keys, token and userinfo: each may take its time.
            async with asyncio.timeout(4 * self.provider.options.timeout_seconds):
                return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except TimeoutError:
            raise Unavailable(f"the provider {self.provider.options.issuer} does not answer in time") from None
        finally:
            self._waiting -= 1
