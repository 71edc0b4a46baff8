"""The one place where a gRPC channel to a leader is made, and the limits that both ends of it share."""

from __future__ import annotations

import ipaddress

import grpc
import grpc.aio

from joblog.memory import keep_memory

# The largest message either side takes: a few batches of the largest size with their columns.
MAX_MESSAGE_BYTES = 16 << 20
KEEPALIVE_SECONDS = 10
KEEPALIVE_TIMEOUT_SECONDS = 5

Options = list[tuple[str, int]]


def client_options(address: str) -> Options:
    """What every channel to a leader is set to."""
    return [
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.keepalive_time_ms", KEEPALIVE_SECONDS * 1000),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_SECONDS * 1000),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 1000),
        ("grpc.max_reconnect_backoff_ms", 2000),
        # A proxy set for the web can't reach a leader on this machine.
        ("grpc.enable_http_proxy", 0 if is_loopback(address) else 1),
        # A channel of one's own connection: closing it ends the connection, a new one does not inherit its backoff.
        ("grpc.use_local_subchannel_pool", 1),
    ]


def server_options(max_message_bytes: int = MAX_MESSAGE_BYTES) -> Options:
    """What a leader's gRPC server is set to: how much it takes at once, and patience with the pings of its clients."""
    return [
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.http2.min_ping_interval_without_data_ms", KEEPALIVE_SECONDS * 1000 // 2),
        ("grpc.http2.max_ping_strikes", 0),
        ("grpc.keepalive_permit_without_calls", 1),
        # Two leaders on one port would each get half of the workers.
        ("grpc.so_reuseport", 0),
    ]


def is_loopback(address: str) -> bool:
    """Whether HOST:PORT is an address of this machine alone."""
    host = address.rpartition(":")[0].strip("[]")
    if host == "localhost" or address.startswith("unix:"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def open_channel(address: str) -> grpc.Channel:
    """A channel for synchronous calls; connects when it is first used. The caller closes it."""
    keep_memory()
    return grpc.insecure_channel(address, options=client_options(address))


def open_async_channel(address: str) -> grpc.aio.Channel:
    """A channel for asyncio; connects when it is first used. The caller closes it."""
    return grpc.aio.insecure_channel(address, options=client_options(address))
