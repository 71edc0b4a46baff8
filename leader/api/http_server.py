"""The HTTP server as a service of the daemon: uvicorn on a socket of ours, in the daemon's event loop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import logging
import socket
import ssl
from collections.abc import Callable, Collection, Iterator
from urllib.parse import urlsplit

import uvicorn

from joblog.errors import Conflict, Denied, InvalidInput
from joblog.leader.api.bounds import Bounds
from joblog.leader.api.http.app import make_app
from joblog.leader.api.http.connections import Acceptor, BoundedProtocol, Seat, Seats
from joblog.leader.api.http.context import ApiContext
from joblog.leader.api.http.guard import LOOPBACK_HOSTS
from joblog.leader.api.http.place import Place
from joblog.service import Service

log = logging.getLogger(__name__)

_BACKLOG = 512
_EVERYWHERE = ("0.0.0.0", "::", "")  # noqa: S104 - told apart, not listened on


class _Server(uvicorn.Server):
    """Leaves signals to the daemon, and takes connections by an acceptor of ours."""

    def __init__(self, config: uvicorn.Config, bounds: Bounds, refused: Callable[[str], None]) -> None:
        super().__init__(config)
        self._bounds = bounds
        self._seats = Seats(bounds.http_connections, bounds.peer_http, refused)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begins to take connections from the sockets."""
        await self.lifespan.startup()

        def make(seat: Seat) -> asyncio.Protocol:
            return BoundedProtocol(self.config, self.server_state, self.lifespan.state, seat=seat, bounds=self._bounds)

        self.servers = [
            Acceptor(listener, self._seats, make, tls=self.config.ssl, handshake_seconds=self._bounds.handshake_seconds)  # type: ignore[misc]
            for listener in sockets or ()
        ]
        self.started = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Does nothing."""
        yield


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises Conflict when it is in use, Denied, InvalidInput."""
    where = f"{host}:{port}"
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, UnicodeError, OverflowError) as error:
        raise InvalidInput(f"http address {where} can't be looked up: {error}") from None
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise Conflict(f"http address {where} is in use: stop what has it, or set another port") from None
        if error.errno in (errno.EACCES, errno.EPERM):
            raise Denied(f"http address {where}: not allowed to listen there: {error.strerror}") from None
        raise InvalidInput(f"http address {where} can't be listened on: {error.strerror}") from None
    listener.setblocking(False)
    return listener


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class HttpServer(Service):
    """Serves the HTTP API on host:port (0: a free one; `url` says which, once started).

    tls: None for plaintext; what it holds may be exchanged while the server runs.
    names: under which the leader is known besides. On a loopback address only those, the place's and the loopback's
    own may be in a Host header; elsewhere any where the place has no name.
    """

    name = "http"

    def __init__(
        self,
        context: ApiContext,
        *,
        host: str,
        port: int,
        names: Collection[str] = (),
        place: Place | None = None,
        tls: ssl.SSLContext | None = None,
        bounds: Bounds | None = None,
    ) -> None:
        self._bounds = bounds or Bounds()
        self._place = place or Place()
        self._context = context
        self._tls = tls
        self._host = host
        self._port = port
        self._app = make_app(context, hosts=self._hosts(names), place=self._place)
        self._listener: socket.socket | None = None
        self._server: _Server | None = None
        self._ended = asyncio.Event()

    def _hosts(self, names: Collection[str]) -> Collection[str] | None:
        place = self._place
        if not place.names and not is_loopback(self._host):
            return None
        url = [urlsplit(place.url).hostname or ""] if place.url else []
        return {self._host, *LOOPBACK_HOSTS, *names, *place.names, *url}

    @property
    def port(self) -> int:
        """The port that it listens on."""
        assert self._listener is not None
        port = self._listener.getsockname()[1]
        assert isinstance(port, int)
        return port

    @property
    def url(self) -> str:
        """Where it can be reached on this machine, without a slash at the end; empty before it is started."""
        if self._listener is None:
            return ""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(self._host, self._host)  # noqa: S104
        scheme = "http" if self._tls is None else "https"
        shown = f"[{host}]" if ":" in host else host
        return f"{scheme}://{shown}:{self.port}{self._place.base_path.rstrip('/')}"

    def page(self, host: str = "") -> str:
        """Where browsers find the UI, with a slash at the end; host: of the leader as others see it, where known."""
        if self._listener is None:
            return ""
        if self._place.url:
            return self._place.url + self._place.base_path
        if not host or self._host not in _EVERYWHERE:
            return self.url + "/"
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://{host}:{self.port}{self._place.base_path}"

    async def start(self) -> None:
        """Listens; requests wait until `run`."""
        self._listener = listen(self._host, self._port)
        config = uvicorn.Config(
            self._app,
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=max(1, round(self._bounds.keep_alive_seconds)),
        )
        config.load()
        config.ssl = self._tls
        refused = self._context.metrics.api.connections_refused
        self._server = _Server(config, self._bounds, lambda why: refused.labels("http", why).inc())
        log.info("HTTP at %s", self.url)

    async def run(self) -> None:
        """Serves until drained or cancelled."""
        assert self._server is not None
        assert self._listener is not None
        try:
            await self._server.serve(sockets=[self._listener])
        finally:
            self._ended.set()

    async def drain(self, deadline_seconds: float) -> None:
        """Takes no new connections, ends requests that wait for bytes, and lets the others finish."""
        assert self._server is not None
        self._context.closing.set()
        self._server.config.timeout_graceful_shutdown = max(1, int(deadline_seconds * 0.8))
        self._server.should_exit = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline_seconds):
                await self._ended.wait()

    async def stop(self) -> None:
        """Closes the socket."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
