"""Settings of the HTTP server, and of signing in to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from joblog.address import check_listen
from joblog.errors import InvalidInput
from joblog.leader.access.host_names import LOOPBACK, is_host
from joblog.leader.access.oidc_grants import parse_group_grant
from joblog.leader.access.oidc_options import OidcOptions
from joblog.leader.api.http.place import Place, check_base_path, check_proxy, check_url
from joblog.settings import setting

DEFAULT_HTTP_LISTEN = "127.0.0.1:7081"


def check_http_listen(address: str) -> str:
    """The same, and "" for no HTTP server at all."""
    return check_listen(address) if address else address


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """Where the HTTP API and the admin UI are served."""

    listen: str = setting(
        DEFAULT_HTTP_LISTEN,
        "Address of the HTTP server, HOST:PORT. Port 0 takes any free one. Empty: no HTTP server.",
        check=check_http_listen,
    )
    open_metrics: bool = setting(
        False, "Whether everybody may read /metrics. Else it takes a token with the permission metrics.read."
    )
    url: str = setting(
        "",
        "Where browsers find the leader, https://HOST[:PORT], when that is not what it sees itself, as behind a proxy.",
        check=check_url,
    )
    base_path: str = setting(
        "/",
        "The path that a proxy serves the leader under, as /joblog/. The proxy may take it off or leave it.",
        check=check_base_path,
    )
    names: tuple[str, ...] = setting(
        (),
        "Host names that requests may ask for, besides those in http.url and tls.names. Empty: a leader on a loopback "
        "address knows only the names of that, one elsewhere answers to every name.",
    )
    trusted_proxies: tuple[str, ...] = setting(
        (),
        "Addresses and networks of proxies that are believed in what they say of who asks (X-Forwarded-For) and how "
        "(X-Forwarded-Proto). Empty: nobody is.",
    )

    def place(self) -> Place:
        """Where browsers find the leader."""
        return Place(self.base_path, self.url.rstrip("/"), self.names, self.trusted_proxies)

    def problems(self) -> Iterator[tuple[str, str]]:
        """Values that are none."""
        for name in self.names:
            if not is_host(name):
                yield "http.names", f"holds {name[:100]!r}, which is neither a host name nor an address"
        for proxy in self.trusted_proxies:
            try:
                check_proxy(proxy)
            except InvalidInput as error:
                yield "http.trusted_proxies", f"holds {error}"


def check_issuer(text: str) -> str:
    """Returns `text` when it is empty, https://..., or http:// of this machine. Raises InvalidInput."""
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
    except ValueError:
        raise InvalidInput(f"{text[:100]!r} is not an address") from None
    if text and not (host and (parts.scheme == "https" or (parts.scheme == "http" and host in LOOPBACK))):
        raise InvalidInput(f"{text[:100]!r} does not begin with https:// (http:// is for loopback alone)")
    if parts.query or parts.fragment:
        raise InvalidInput(f"{text[:100]!r} must have neither ? nor # in it")
    return text


@dataclass(frozen=True, slots=True)
class OidcSettings:
    """Signing in to the admin UI at an OpenID Connect provider."""

    issuer: str = setting(
        "", "The provider's issuer address, as it calls itself, https://... Empty: there is none.", check=check_issuer
    )
    name: str = setting("Single sign-on", "What the sign-in page calls it.")
    client_id: str = setting("", "This leader's client id at the provider.")
    client_secret: str = setting("", "Its client secret. Empty: it is a public client.", secret=True)
    scopes: tuple[str, ...] = setting(
        ("openid", "profile", "email"), "What is asked for; some providers tell groups only for a scope of their own."
    )
    groups_claim: str = setting(
        "groups", "The claim with somebody's groups; with dots for one within another, as realm_access.roles."
    )
    grants: tuple[str, ...] = setting(
        (),
        "Which groups get which role on which namespaces, each GROUP=ROLE:NAMESPACES, as platform=admin:* or "
        "team-a=reader:team-a-*. Group * is everybody whom the provider signs in. Who gets none may not come in.",
    )
    ca_file: Path | None = setting(None, "Certificates (PEM) to trust instead of the system's.")
    timeout_seconds: float = setting(
        10.0, "How long the provider may take to connect, and to answer.", unit="seconds", low=0.1, high=300
    )
    clock_skew_seconds: float = setting(
        60.0, "How far the provider's clock may be off.", unit="seconds", low=0, high=600
    )

    def options(self) -> OidcOptions | None:
        """The provider; None where there is none."""
        if not self.issuer:
            return None
        return OidcOptions(
            issuer=self.issuer,
            client_id=self.client_id,
            client_secret=self.client_secret,
            name=self.name,
            scopes=self.scopes,
            groups_claim=self.groups_claim,
            grants=tuple(parse_group_grant(entry) for entry in self.grants),
            ca_file=self.ca_file,
            timeout_seconds=self.timeout_seconds,
            clock_skew_seconds=self.clock_skew_seconds,
        )

    def problems(self) -> Iterator[tuple[str, str]]:
        """Values that are none, or do not fit together."""
        for entry in self.grants:
            try:
                parse_group_grant(entry)
            except InvalidInput as error:
                yield "oidc.grants", f"is not allowed: {error}"
        if not self.issuer:
            return
        if not self.client_id:
            yield "oidc.client_id", "must be given with oidc.issuer"
        if not self.grants:
            yield "oidc.grants", "must be given with oidc.issuer: nobody could come in"
        if "openid" not in self.scopes:
            yield "oidc.scopes", "must hold openid"
