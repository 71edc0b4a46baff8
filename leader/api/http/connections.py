"""Connections to the HTTP server: how many, from where, and how long each may take for what."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any

from httptools import HttpParserError
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from joblog.leader.api.bounds import Bounds

log = logging.getLogger(__name__)

_MAX_HEADERS = 100
_FILES_SECONDS = 0.1
_CLOSE_SECONDS = 2.0
_NO_FILES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_MESSAGES = {
    400: "the request can't be read",
    408: "the request did not come in time",
    413: "the body is too large",
    414: "the address is too long",
    431: "the headers are too large, or too many",
}


class Seat:
    """One connection's place among all. close: ends it; set once there is something to end."""

    __slots__ = ("_seats", "close", "host")

    def __init__(self, seats: Seats, host: str) -> None:
        self._seats = seats
        self.host = host
        self.close: Callable[[], object] = lambda: None

    @property
    def is_taken(self) -> bool:
        """Whether the connection still has it."""
        return self in self._seats.taken

    def busy(self) -> None:
        """A request has come whole, as far as its head: it is seen through."""
        self._seats.waiting.pop(self, None)

    def idle(self) -> None:
        """It waits for its peer."""
        if self.is_taken:
            self._seats.waiting[self] = None

    def leave(self) -> None:
        """The connection is over. Can be repeated."""
        self._seats.leave(self)


class Seats:
    """Who is connected. Belongs to the event loop.

    Where all seats are taken the one goes that has kept the leader waiting longest for a request, so that a crowd that
    only connects keeps nobody out.
    """

    def __init__(self, total: int, per_peer: int, refused: Callable[[str], None] = lambda _why: None) -> None:
        """refused: told `total` or `peer` for each connection that was closed to keep to the bound."""
        self._total = total
        self._per_peer = per_peer
        self._refused = refused
        self._hosts: Counter[str] = Counter()
        self.taken: set[Seat] = set()
        # Those that wait for their peer, the longest first.
        self.waiting: OrderedDict[Seat, None] = OrderedDict()

    def take(self, host: str) -> Seat | None:
        """A seat for a new connection from there; None when there is none."""
        if self._hosts[host] >= self._per_peer:
            self._refused("peer")
            return None
        if len(self.taken) >= self._total:
            self._refused("total")
            if not self.waiting:
                return None
            oldest = next(iter(self.waiting))
            self.leave(oldest)
            oldest.close()
        seat = Seat(self, host)
        self._hosts[host] += 1
        self.taken.add(seat)
        self.waiting[seat] = None
        return seat

    def leave(self, seat: Seat) -> None:
        """As Seat.leave()."""
        if seat not in self.taken:
            return
        self.taken.discard(seat)
        self.waiting.pop(seat, None)
        self._hosts[seat.host] -= 1
        if not self._hosts[seat.host]:
            del self._hosts[seat.host]


class BoundedProtocol(HttpToolsProtocol):
    """Closes connections that take too long for a request's head or body, or send too much, or read nothing."""

    def __init__(
        self, config: Config, state: ServerState, app_state: dict[str, Any], *, seat: Seat, bounds: Bounds
    ) -> None:
        super().__init__(config=config, server_state=state, app_state=app_state)
        self._seat = seat
        self._bounds = bounds
        self._timer: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._in_head = True
        self._head_bytes = 0
        self._fed_bytes = 0
        self._body_bytes = 0
        self._is_chunked = False
        self._refusal = 400

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A peer is there; the time for its first request begins."""
        super().connection_made(transport)
        self._seat.close = transport.abort
        if not self._seat.is_taken:
            # It was given to somebody else meanwhile.
            transport.abort()
            return
        self._allow(self._bounds.header_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._seat.leave()
        self._allow(None)
        self.resume_writing()
        super().connection_lost(exc)

    # How long

    def _allow(self, seconds: float | None) -> None:
        """What is awaited from the peer must come within this time; None: nothing is awaited."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self.loop.call_later(seconds, self._late)

    def _late(self) -> None:
        self._timer = None
        if self.transport.is_closing():
            return
        if self._is_answering():
            # A route may wait for the rest of a body.
            self.transport.abort()
        else:
            self._refuse(408)

    def _is_answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _stall(self) -> None:
        log.info("HTTP: %s takes nothing of what is sent to it: closed", self.client)
        self.transport.abort()

    def pause_writing(self) -> None:
        """The peer takes nothing."""
        super().pause_writing()
        if self._stalled is None:
            self._stalled = self.loop.call_later(self._bounds.stalled_seconds, self._stall)

    def resume_writing(self) -> None:
        """The peer takes more."""
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
        super().resume_writing()

    # How much

    def data_received(self, data: bytes) -> None:
        """Takes what came. What is not a whole head yet is counted, as the parser keeps it."""
        if self._in_head:
            self._fed_bytes += len(data)
            if self._timer is None:
                self._allow(self._bounds.header_seconds)
        super().data_received(data)
        if self._in_head and self._fed_bytes > self._bounds.header_bytes and not self.transport.is_closing():
            self._refuse(431)

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = self._body_bytes = 0
        self._is_chunked = False
        self._allow(self._bounds.header_seconds)

    def on_url(self, url: bytes) -> None:
        """A piece of the address."""
        if len(self.url) + len(url) > self._bounds.url_bytes:
            self._break(414)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, whole."""
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes + len(self.url) > self._bounds.header_bytes or len(self.headers) >= _MAX_HEADERS:
            self._break(431)
        if name.lower() == b"content-length" and (not value.isdigit() or int(value[:20]) > self._bounds.body_bytes):
            self._break(413)
        if name.lower() == b"transfer-encoding":
            # The parser finds fault with others only once the head is whole, when a route has begun to answer.
            if self._is_chunked or value.strip().lower() != b"chunked":
                self._break(400)
            self._is_chunked = True
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The request's head is here."""
        self._in_head = False
        self._fed_bytes = 0
        self._seat.busy()
        self._allow(self._bounds.body_seconds)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._body_bytes += len(body)
        if self._body_bytes > self._bounds.body_bytes:
            self._break(413)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is here."""
        self._allow(None)
        self._in_head = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The request is answered."""
        super().on_response_complete()
        if not self.pipeline:
            self._seat.idle()

    def _break(self, status: int) -> None:
        """Ends the parsing; the parser passes it on as its own error."""
        self._refusal = status
        raise HttpParserError(_MESSAGES[status])

    def _refuse(self, status: int) -> None:
        self._refusal = status
        self.send_400_response(_MESSAGES[status])

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's words; ours are by status
        """Says why nothing more is read, where no reply has begun, and closes."""
        status, self._refusal = self._refusal, 400
        self._allow(None)
        if self._is_answering():
            self.transport.abort()
            return
        text = b'{"error": {"code": "INVALID_ARGUMENT", "message": "%s"}}' % _MESSAGES[status].encode()
        head = b"content-type: application/json\r\nx-content-type-options: nosniff\r\nconnection: close\r\n"
        length = b"content-length: %d\r\n\r\n" % len(text)
        self.transport.write(STATUS_LINE[status] + head + length + text)
        # Nothing more is taken, and a peer that does not end its part is not waited for.
        with contextlib.suppress(RuntimeError):
            self.transport.pause_reading()
        self.transport.close()
        self.loop.call_later(_CLOSE_SECONDS, self.transport.abort)


class Acceptor:
    """Takes connections from a listening socket, as far as there are seats. In place of an asyncio server."""

    def __init__(
        self,
        listener: socket.socket,
        seats: Seats,
        make: Callable[[Seat], asyncio.Protocol],
        *,
        tls: ssl.SSLContext | None,
        handshake_seconds: float,
    ) -> None:
        self._listener = listener
        self._seats = seats
        self._make = make
        self._tls = tls
        self._handshake_seconds = handshake_seconds
        self._connecting: set[asyncio.Task[None]] = set()
        self._accepting = asyncio.create_task(self._accept())

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(self._listener)
            except OSError as error:
                if error.errno in _NO_FILES:
                    log.error("HTTP: no connection can be taken now: %s", error.strerror)
                    await asyncio.sleep(_FILES_SECONDS)
                elif self._listener.fileno() < 0:
                    return
                continue
            seat = self._seats.take(str(address[0]))
            if seat is None:
                connection.close()
                continue
            task = asyncio.create_task(self._connect(loop, connection, seat))
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    async def _connect(self, loop: asyncio.AbstractEventLoop, connection: socket.socket, seat: Seat) -> None:
        task = asyncio.current_task()
        assert task is not None
        seat.close = task.cancel
        patience = None if self._tls is None else self._handshake_seconds
        try:
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.connect_accepted_socket(
                lambda: self._make(seat),
                connection,
                ssl=self._tls,
                ssl_handshake_timeout=patience,
                ssl_shutdown_timeout=None if self._tls is None else _CLOSE_SECONDS,
            )
        except (OSError, asyncio.CancelledError):
            # No TLS, or none in time; or somebody else has the seat by now.
            seat.leave()
            connection.close()
        except BaseException:
            seat.leave()
            connection.close()
            raise

    def close(self) -> None:
        """Takes no more."""
        self._accepting.cancel()
        for task in list(self._connecting):
            task.cancel()

    async def wait_closed(self) -> None:
        """Returns when it takes no more."""
        with contextlib.suppress(asyncio.CancelledError):
            await self._accepting
