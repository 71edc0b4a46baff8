"""How many connections there may be, from the number of files that the leader may have open."""

from __future__ import annotations

import logging
import resource
from dataclasses import dataclass

log = logging.getLogger(__name__)

MAX_GRPC, MAX_HTTP = 50_000, 20_000
# Where there is no limit of open files.
_ENOUGH_FILES = 1 << 20


@dataclass(frozen=True, slots=True)
class Bounds:
    """What connections and requests may take; see the settings `limits`. grpc_connections: of each listener."""

    grpc_connections: int = 1000
    http_connections: int = 1000
    peer_grpc: int = 1000
    peer_http: int = 1000
    handshake_seconds: float = 10.0
    header_seconds: float = 10.0
    body_seconds: float = 30.0
    stalled_seconds: float = 120.0
    keep_alive_seconds: float = 75.0
    grpc_idle_seconds: float = 300.0
    header_bytes: int = 32 << 10
    url_bytes: int = 16 << 10
    body_bytes: int = 1 << 20
    streams: int = 2000

    def grpc_options(self) -> list[tuple[str, int | str]]:
        """What the gRPC server is set to."""
        return [
            ("grpc.max_allowed_incoming_connections", self.grpc_connections),
            ("grpc.max_concurrent_streams", self.streams),
            ("grpc.max_metadata_size", self.header_bytes),
            ("grpc.absolute_max_metadata_size", self.header_bytes),
            ("grpc.server_handshake_timeout_ms", int(self.handshake_seconds * 1000)),
            ("grpc.max_connection_idle_ms", int(self.grpc_idle_seconds * 1000)),
        ]


def connection_bounds(files: int, *, grpc: int = 0, http: int = 0, peer: int = 0) -> dict[str, int]:
    """The connections in Bounds; what is given as 0 follows from the files that may be open, or from the others."""
    grpc = grpc or max(10, min(MAX_GRPC, files * 3 // 10))
    http = http or max(10, min(MAX_HTTP, files * 2 // 10))
    return {
        "grpc_connections": grpc,
        "http_connections": http,
        "peer_grpc": min(grpc, peer or max(5, grpc // 2)),
        "peer_http": min(http, peer or max(5, http // 2)),
    }


def raise_open_files() -> int:
    """Lets the process open as many files as it may without asking anybody; how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError) as error:
            log.warning("the limit of open files stays at %d: %s", soft, error)
    return _ENOUGH_FILES if soft == resource.RLIM_INFINITY else soft
