"""Settings of the HTTP server, and of signing in to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from joblog.address import check_address
from joblog.errors import InvalidInput
from joblog.leader.access.host_names import is_host
from joblog.leader.api.http.place import Place, check_base_path, check_proxy, check_url
from joblog.settings import setting

DEFAULT_HTTP_LISTEN = "127.0.0.1:7081"


def check_listen(address: str) -> str:
    """Returns `address` when a server can listen there: HOST:PORT, port 0 for any free one; raises InvalidInput."""
    host, colon, port = address.rpartition(":")
    if address.startswith("unix:"):
        raise InvalidInput(f"{address[:100]!r} is not HOST:PORT")
    check_address(f"{host}{colon}{port if port != '0' else '1'}")
    return address


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
