"""An OpenID Connect provider: where it sends browsers, and what it says of who comes back.

The only user of Authlib. Calls wait for the network: not for the event loop.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

import requests
from authlib.common.errors import AuthlibBaseError
from authlib.common.security import generate_token
from authlib.integrations.requests_client import OAuth2Session
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import BadSignatureError, InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from joblog.errors import NotAuthenticated, Unavailable
from joblog.leader.access.oidc_grants import groups_in
from joblog.leader.access.oidc_options import Identity, OidcOptions, Request

_WELL_KNOWN = "/.well-known/openid-configuration"
# Nothing with a shared secret: whoever can check such a token can make one.
_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
_KEPT_SECONDS = 3600.0
_MAX_REPLY_BYTES = 1 << 20
_MAX_NAME_LENGTH = 100
_VERIFIER_LENGTH = 64
_NAMES = ("preferred_username", "email", "name", "sub")


class OidcProvider:
    """One provider, which is asked nothing before somebody signs in. clock: seconds since 1970.

    Thread-safe; what two ask for at a time is asked twice.
    """

    def __init__(self, options: OidcOptions, clock: Callable[[], float] = time.time) -> None:
        self.options = options
        self._clock = clock
        self._metadata: dict[str, Any] = {}
        self._metadata_until = 0.0
        self._keys: KeySet | None = None
        self._keys_until = 0.0

    def begin(self, redirect_uri: str) -> Request:
        """Where to send a browser. Raises Unavailable, NotAuthenticated when the provider is not what it must be."""
        metadata = self._discover()
        verifier, nonce = generate_token(_VERIFIER_LENGTH), generate_token(_VERIFIER_LENGTH // 2)
        with self._session(redirect_uri) as session:
            url, state = session.create_authorization_url(
                metadata["authorization_endpoint"], code_verifier=verifier, nonce=nonce
            )
        return Request(url, state, nonce, verifier, redirect_uri)

    def finish(self, code: str, request: Request, issuer: str | None) -> Identity:
        """Who it is that came back with a code. issuer: that the answer names, where it does.

        Raises NotAuthenticated when anything is not what it must be, Unavailable.
        """
        metadata = self._discover()
        named = issuer is not None or metadata.get("authorization_response_iss_parameter_supported") is True
        if named and issuer != self.options.issuer:
            raise NotAuthenticated(f"the answer comes from issuer {issuer!r:.100}, not from {self.options.issuer}")
        with self._session(request.redirect_uri) as session:
            tokens = self._tokens(session, metadata, code, request)
            claims = self._claims(tokens, request.nonce)
            groups = groups_in(claims, self.options.groups_claim)
            if groups is None and isinstance(metadata.get("userinfo_endpoint"), str):
                more = self._reply(session.get(metadata["userinfo_endpoint"], stream=True, **self._how))
                if more.get("sub") != claims["sub"]:
                    raise NotAuthenticated("the provider's userinfo is of somebody else than its ID token")
                claims = {**more, **claims}
                groups = groups_in(claims, self.options.groups_claim)
        return Identity(str(claims["sub"])[:250], _name(claims), groups or ())

    @property
    def sign_out_url(self) -> str:
        """Where a browser signs out at the provider too; empty where that is not known."""
        endpoint = self._metadata.get("end_session_endpoint")
        if not isinstance(endpoint, str):
            return ""
        url = requests.Request("GET", endpoint, params={"client_id": self.options.client_id}).prepare().url
        return url or ""

    # What the provider says

    @property
    def _how(self) -> dict[str, Any]:
        """Goes with each request: a session's own `verify` would count less than variables of the environment."""
        options = self.options
        seconds = options.timeout_seconds
        return {"timeout": (seconds, seconds), "verify": str(options.ca_file) if options.ca_file else True}

    def _session(self, redirect_uri: str = "") -> OAuth2Session:
        options = self.options
        methods = self._metadata.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        method = next((one for one in ("client_secret_basic", "client_secret_post") if one in methods), None)
        session = OAuth2Session(
            options.client_id,
            options.client_secret or None,
            token_endpoint_auth_method=method if options.client_secret else "none",
            scope=" ".join(options.scopes),
            redirect_uri=redirect_uri,
            code_challenge_method="S256",
        )
        # Nothing that a provider answers is to be looked for elsewhere.
        session.max_redirects = 0
        return session

    def _discover(self) -> Mapping[str, Any]:
        if self._clock() < self._metadata_until:
            return self._metadata
        issuer = self.options.issuer
        found = self._get(issuer.rstrip("/") + _WELL_KNOWN)
        itself = str(found.get("issuer"))[:100]
        if itself != issuer:
            raise NotAuthenticated(f"{issuer} calls itself {itself!r}: set that as oidc.issuer")
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            if urlsplit(str(found.get(name))).scheme != urlsplit(issuer).scheme:
                raise NotAuthenticated(f"{issuer} names no {name} of its scheme")
        self._metadata, self._metadata_until = found, self._clock() + _KEPT_SECONDS
        return found

    def _key_set(self, *, fresh: bool) -> KeySet:
        keys = self._keys
        if fresh or keys is None or self._clock() >= self._keys_until:
            keys = KeySet.import_key_set(self._get(self._metadata["jwks_uri"]))  # type: ignore[arg-type]
            self._keys, self._keys_until = keys, self._clock() + _KEPT_SECONDS
        return keys

    def _tokens(
        self, session: OAuth2Session, metadata: Mapping[str, Any], code: str, request: Request
    ) -> dict[str, Any]:
        try:
            return dict(
                session.fetch_token(
                    metadata["token_endpoint"],
                    grant_type="authorization_code",
                    code=code,
                    code_verifier=request.verifier,
                    **self._how,
                )
            )
        except AuthlibBaseError as error:
            # Its own name for what is wrong; a description may hold what we have sent.
            raise NotAuthenticated(f"the provider does not take the code: {str(error.error)[:60]}") from None
        except (requests.RequestException, ValueError) as error:
            raise self._unreachable(error) from None

    def _claims(self, tokens: Mapping[str, Any], nonce: str) -> dict[str, Any]:
        """What the ID token says. Raises NotAuthenticated."""
        text = tokens.get("id_token")
        if not isinstance(text, str):
            raise NotAuthenticated("the provider gives no ID token: is `openid` in oidc.scopes?")
        offered = self._metadata.get("id_token_signing_alg_values_supported") or ["RS256"]
        registry = JWSRegistry(algorithms=[one for one in _ALGORITHMS if one in offered], strict_check_header=False)
        options = self.options
        try:
            try:
                token = jwt.decode(text, self._key_set(fresh=False), registry=registry)
            except (InvalidKeyIdError, BadSignatureError):
                # Its keys have changed, perhaps.
                token = jwt.decode(text, self._key_set(fresh=True), registry=registry)
            wanted = {
                "iss": {"essential": True, "value": options.issuer},
                "aud": {"essential": True, "value": options.client_id},
                "nonce": {"essential": True, "value": nonce},
            }
            params = {"nonce": nonce, "client_id": options.client_id, "access_token": tokens.get("access_token")}
            claims = CodeIDToken(token.claims, token.header, wanted, params)
            claims.validate(now=int(self._clock()), leeway=int(options.clock_skew_seconds))
        except (JoseError, AuthlibBaseError) as error:
            raise NotAuthenticated(f"the provider's ID token is not good: {_word(error)}") from None
        except (ValueError, TypeError, KeyError):
            raise NotAuthenticated("the provider's ID token is not one") from None
        return dict(claims)

    def _get(self, url: str) -> dict[str, Any]:
        try:
            with requests.Session() as session:
                session.max_redirects = 0
                return self._reply(session.get(url, stream=True, **self._how))
        except requests.RequestException as error:
            raise self._unreachable(error) from None

    def _reply(self, reply: requests.Response) -> dict[str, Any]:
        try:
            reply.raise_for_status()
            body = reply.raw.read(_MAX_REPLY_BYTES + 1, decode_content=True)
            found = json.loads(body) if len(body) <= _MAX_REPLY_BYTES else None
        except (requests.RequestException, ValueError, OSError) as error:
            raise self._unreachable(error) from None
        if not isinstance(found, dict):
            raise Unavailable(f"the provider {self.options.issuer} answers something that is no JSON object")
        return found

    def _unreachable(self, error: Exception) -> Unavailable:
        # The text of the error may name addresses with what was sent in them.
        status = error.response.status_code if isinstance(error, requests.HTTPError) and error.response else ""
        what = f"it answers with status {status}" if status else type(error).__name__
        return Unavailable(f"the provider {self.options.issuer} can't be reached: {what}")


def _word(error: Exception) -> str:
    """What is wrong, without any value of the token."""
    claim = getattr(error, "claim", None)
    word = getattr(error, "error", type(error).__name__)
    return f"{word} ({claim})" if claim else str(word)


def _name(claims: Mapping[str, Any]) -> str:
    found: Iterable[object] = (claims.get(name) for name in _NAMES)
    text = next(name for name in found if isinstance(name, str) and name)
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:_MAX_NAME_LENGTH]
