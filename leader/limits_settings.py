"""The settings `quotas` and `limits`: how much of the leader one may use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from joblog.errors import InvalidInput
from joblog.leader.access.quota import NamespaceQuota, parse_namespace_quota
from joblog.leader.api.bounds import Bounds, connection_bounds
from joblog.settings import setting

KIB, MIB = 1 << 10, 1 << 20


@dataclass(frozen=True, slots=True)
class QuotaSettings:
    """How much there may be in a namespace. Tokens have quotas of their own: `joblog token create`."""

    namespaces: tuple[str, ...] = setting(
        (),
        "Quotas of namespaces, each GLOB: NAME=VALUE NAME=VALUE, of which the first counts that names a namespace; "
        "each namespace has it for itself. Names: bytes_per_day and stored_bytes (sizes), live_logs, "
        'requests_per_second. As "team-a-*: bytes_per_day=10GiB live_logs=1000".',
    )

    def parsed(self) -> tuple[NamespaceQuota, ...]:
        """The quotas. Raises InvalidInput."""
        return tuple(map(parse_namespace_quota, self.namespaces))

    def problems(self) -> Iterator[tuple[str, str]]:
        """Quotas that are none."""
        try:
            self.parsed()
        except InvalidInput as error:
            yield "quotas.namespaces", f"is not allowed: {error}"


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """How much connections and requests may take, so that some can't keep others out."""

    grpc_connections: int = setting(
        0,
        "Connections to each gRPC listener at most; more are closed at once. 0: 3/10 of the files that the leader may "
        "have open, at most 50,000.",
        low=0,
        high=1_000_000,
    )
    http_connections: int = setting(
        0,
        "Connections to the HTTP server at most; more are closed at once. 0: 2/10 of the files that the leader may "
        "have open, at most 20,000.",
        low=0,
        high=1_000_000,
    )
    peer_connections: int = setting(
        0,
        "Connections from one address at most, to HTTP and to gRPC each. Raise it where many workers or readers share "
        "an address, as behind a proxy. 0: half of those from all addresses.",
        low=0,
        high=1_000_000,
    )
    handshake_seconds: float = setting(
        10.0, "How long a new connection may take until it is encrypted and ready.", unit="seconds", low=0.1, high=300
    )
    header_seconds: float = setting(
        10.0, "How long the head of an HTTP request may take to come.", unit="seconds", low=0.1, high=300
    )
    body_seconds: float = setting(
        30.0, "How long the body of an HTTP request may take to come.", unit="seconds", low=0.1, high=3600
    )
    stalled_seconds: float = setting(
        120.0,
        "After this time an HTTP connection is closed whose client takes nothing of what is sent to it.",
        unit="seconds",
        low=0.1,
        high=3600,
    )
    keep_alive_seconds: float = setting(
        75.0, "How long an HTTP connection may wait for its next request.", unit="seconds", low=1, high=3600
    )
    grpc_idle_seconds: float = setting(
        300.0,
        "How long a gRPC connection may be without a call; its client makes a new one when it needs it.",
        unit="seconds",
        low=1,
        high=86_400,
    )
    header_bytes: int = setting(
        32 * KIB,
        "Bytes of a request's head at most: address and headers in HTTP, metadata in gRPC.",
        unit="bytes",
        low=4 * KIB,
        high=MIB,
    )
    url_bytes: int = setting(
        16 * KIB, "Bytes of the address in an HTTP request at most.", unit="bytes", low=KIB, high=MIB
    )
    body_bytes: int = setting(
        MIB, "Bytes of the body of an HTTP request at most.", unit="bytes", low=4 * KIB, high=64 * MIB
    )
    streams: int = setting(
        2000, "Calls that are open on one gRPC connection at most; more wait.", low=1, high=1_000_000
    )
    reads: int = setting(
        5000, "Reads, tails, searches and verifications that are open at once at most.", low=1, high=1_000_000
    )
    caller_reads: int = setting(
        2000,
        "The same of one caller: a token with all its sessions, or a worker. Raise it where many share a token.",
        low=1,
        high=1_000_000,
    )

    def bounds(self, files: int) -> Bounds:
        """The same for the servers. files: that the leader may have open."""
        shared = {name: getattr(self, name) for name in Bounds.__slots__ if hasattr(self, name)}
        given = {"grpc": self.grpc_connections, "http": self.http_connections, "peer": self.peer_connections}
        return Bounds(**(shared | connection_bounds(files, **given)))

    def problems(self) -> Iterator[tuple[str, str]]:
        """Values that do not fit together."""
        if self.caller_reads > self.reads:
            yield "limits.caller_reads", "must be at most limits.reads"
        if self.url_bytes > self.header_bytes:
            yield "limits.url_bytes", "must be at most limits.header_bytes"
