"""The one place where a gRPC channel to a leader is made, and the limits that both ends of it share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio

from joblog.address import is_loopback
from joblog.handshake import resolved
from joblog.memory import keep_memory
from joblog.trust import Trust

# The largest message either side takes: a few batches of the largest size with their columns.
MAX_MESSAGE_BYTES = 16 << 20
KEEPALIVE_SECONDS = 10
KEEPALIVE_TIMEOUT_SECONDS = 5

Options = list[tuple[str, int | str]]


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


def open_channel(address: str, trust: Trust) -> grpc.Channel:
    """A channel for synchronous calls; connects when it is first used. The caller closes it.

    Raises Unavailable and Denied where the leader's CA has to be fetched before, which trust.fingerprint names.
    """
    keep_memory()
    trust = resolved(address, trust)
    options = _options(address, trust)
    if trust.plaintext:
        channel = grpc.insecure_channel(address, options=options)
    else:
        channel = grpc.secure_channel(address, _credentials(trust), options=options)
    if trust.token:
        _add_bearer(channel, trust.token)
    return channel


def open_async_channel(address: str, trust: Trust) -> grpc.aio.Channel:
    """A channel for asyncio; connects when it is first used. The caller closes it.

    trust: as joblog.handshake.resolved gives it.
    """
    assert trust.plaintext or trust.ca or not trust.fingerprint
    options = _options(address, trust)
    if trust.plaintext:
        channel = grpc.aio.insecure_channel(address, options=options)
    else:
        channel = grpc.aio.secure_channel(address, _credentials(trust), options=options)
    if trust.token:
        _add_bearer(channel, trust.token)
    return channel


def _options(address: str, trust: Trust) -> Options:
    options = client_options(address)
    if trust.server_name and not trust.plaintext:
        options.append(("grpc.ssl_target_name_override", trust.server_name))
    return options


def _credentials(trust: Trust) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(trust.ca or None, trust.key or None, trust.certificate or None)


_KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")


def _add_bearer(channel: Any, token: str) -> None:
    """Makes every call of a channel show a token. Whether the channel is encrypted, its maker has decided.

    gRPC's own call credentials refuse a channel in plaintext, and take a thread's turn for each call.
    """
    metadata = (("authorization", f"Bearer {token}"),)

    def wrapped(make: Callable[..., Any]) -> Callable[..., Any]:
        def make_with_token(*arguments: Any, **named: Any) -> Any:
            call = make(*arguments, **named)

            def with_token(*values: Any, **options: Any) -> Any:
                options["metadata"] = (*(options.get("metadata") or ()), *metadata)
                return call(*values, **options)

            return with_token

        return make_with_token

    for kind in _KINDS:
        setattr(channel, kind, wrapped(getattr(channel, kind)))
