"""What is read from files, and again when they change: a server's certificate, which others renew while it runs."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from joblog.errors import JoblogError

if TYPE_CHECKING:
    import grpc

log = logging.getLogger(__name__)

T = TypeVar("T")

_LOOK_SECONDS = 1.0


def _nothing(_value: object) -> None:
    pass


class Reread(Generic[T]):
    """Thread-safe: gRPC asks in threads of its own, once for each connection.

    What can't be used, such as a file that is half written, leaves the old value in force and is warned of once.
    read: raises JoblogError. taken: told of each new value before it counts; it does not where that raises JoblogError.
    is_due: whether to read again though no file has changed. what: the value, in messages.
    """

    def __init__(
        self,
        files: Sequence[Path],
        read: Callable[[], T],
        *,
        taken: Callable[[T], None] = _nothing,
        is_due: Callable[[T], bool] = lambda _value: False,
        what: str = "certificate",
    ) -> None:
        """Reads it. Raises what `read` does."""
        self._files = files
        self._read = read
        self._taken = taken
        self._is_due = is_due
        self._what = what
        # Held while a new value is taken.
        self.lock = threading.RLock()
        self._looked = time.monotonic()
        self._stamps = self._stamp()
        self._warned = ""
        self._value = read()

    def current(self) -> T:
        """What counts now; looks for something newer at most once a second."""
        with self.lock:
            now = time.monotonic()
            if now - self._looked >= _LOOK_SECONDS:
                self._looked = now
                self._look()
            return self._value

    def renew(self) -> None:
        """Reads at once. Raises what `read` does; the old value then stays in force."""
        with self.lock:
            self._take(self._read())

    def _take(self, fresh: T) -> None:
        if fresh != self._value:
            self._taken(fresh)
            self._value = fresh
            log.info("a new %s is shown from now on", self._what)

    def _look(self) -> None:
        stamps = self._stamp()
        try:
            if stamps == self._stamps and not self._is_due(self._value):
                return
            self._take(self._read())
            # Of before it was read: what changed meanwhile is read again.
            self._stamps, self._warned = stamps, ""
        except (JoblogError, OSError) as error:
            if str(error) != self._warned:
                log.warning("the old %s stays in force: %s", self._what, error)
                self._warned = str(error)

    def _stamp(self) -> list[tuple[int, int, int]]:
        stamps = []
        for path in self._files:
            with contextlib.suppress(OSError):
                found = path.stat()
                stamps.append((found.st_mtime_ns, found.st_size, found.st_ino))
        return stamps


def server_credentials(
    current: Callable[[], T],
    configuration: Callable[[T], grpc.ServerCertificateConfiguration],
    *,
    ask_clients: bool = False,
) -> grpc.ServerCredentials:
    """For a gRPC listener that shows what `current` gives when a connection is made.

    ask_clients: it asks for a client certificate, and takes no client without one.
    """
    import grpc

    last = [current()]

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        now = current()
        if now is last[0]:
            return None
        last[0] = now
        return configuration(now)

    # None is what gRPC documents for no change.
    return grpc.dynamic_ssl_server_credentials(
        configuration(last[0]),
        fetch,  # type: ignore[arg-type]
        require_client_authentication=ask_clients,
    )
