"""One datagram from a supervisor to the shipper that asked for it."""

from __future__ import annotations

import _socket

from joblog.worker.unix_address import short_address


def send_datagram(path: str, content: bytes) -> None:
    """Sends `content` to the unix datagram socket at `path` without waiting.

    A failure is left aside: nobody listens there, or has enough to read; the shipper looks at the spools itself then.
    """
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC)
    try:
        with short_address(path) as address:
            sock.sendto(content, address)
    except OSError:
        return
    finally:
        sock.close()
