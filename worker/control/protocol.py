"""What goes over the control socket: one JSON object per line, a request first, then one or more replies.

Request: `{"version": 1, "op": "...", ...}`. Reply: `{"ok": {...}}`, or
`{"error": {"kind": "NotFound", "message": "..."}}` with the name of a class of joblog.errors; the connection ends after
an error. `attach` is answered by `{"ok": {}}` and then by lines `{"frame": {...}}`, `{"gap": {...}}` and, last,
`{"end": {...}}`. One request per connection.

| op | fields | reply |
| --- | --- | --- |
| ping | | pid, worker_id, version |
| adopt | spool_ids | |
| spool_key | | key: for a new sealed spool, hexadecimal |
| start | order | spool_ids, pid, namespace, run, task, attempt |
| list | | tasks: a list of task states |
| signal | spool_id, signal | |
| attach | spool_id, from_offset | the stream above |

Imports next to nothing, because `joblog run` does.
"""

from __future__ import annotations

import json
import os
import socket
from typing import Any

from joblog import errors
from joblog.errors import InvalidInput, JoblogError, WrongVersion
from joblog.worker.unix_address import short_address

VERSION = 1
# A command line and an environment as long as Linux lets them be, every byte of them escaped.
MAX_MESSAGE_BYTES = 16 << 20

Message = dict[str, Any]


def encode(message: Message) -> bytes:
    """A message as a line; raises InvalidInput when it is too long for the socket."""
    line = json.dumps(message, separators=(",", ":")).encode() + b"\n"
    if len(line) > MAX_MESSAGE_BYTES:
        raise InvalidInput(f"message of {len(line)} bytes: at most {MAX_MESSAGE_BYTES} go over the control socket")
    return line


def decode(line: bytes) -> Message:
    """The message of a line; raises InvalidInput when it is none."""
    if not line.endswith(b"\n"):
        raise InvalidInput(f"control socket: a message of {len(line)} bytes has no end")
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        raise InvalidInput(f"control socket: not JSON: {line[:60]!r}") from None
    if not isinstance(message, dict):
        raise InvalidInput(f"control socket: not a JSON object: {line[:60]!r}")
    return message


def check_version(request: Message) -> None:
    """Raises WrongVersion for a request of another version of the protocol."""
    if request.get("version") != VERSION:
        raise WrongVersion(
            f"control socket: the request has version {request.get('version')!r}, this worker speaks {VERSION}; "
            "install the same version of joblog on both sides"
        )


def error_message(error: JoblogError) -> Message:
    """An error as a message."""
    return {"error": {"kind": type(error).__name__, "message": str(error)}}


def check_reply(message: Message) -> Message:
    """Returns the message when it is no error; raises the error that it is."""
    error = message.get("error")
    if error is None:
        return message
    kind = getattr(errors, str(error.get("kind")), JoblogError)
    if not (isinstance(kind, type) and issubclass(kind, JoblogError)):
        kind = JoblogError
    raise kind(str(error.get("message")))


def connect(path: str, timeout_seconds: float) -> socket.socket:
    """A stream socket connected to `path`; raises OSError."""
    sock = _new_socket()
    try:
        sock.settimeout(timeout_seconds)
        with short_address(path) as address:
            sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


def listen(path: str) -> socket.socket:
    """A listening socket of mode 0600 at `path`; raises OSError."""
    sock = _new_socket()
    mask = os.umask(0o177)
    try:
        with short_address(path) as address:
            sock.bind(address)
        sock.listen(128)
    except BaseException:
        sock.close()
        raise
    finally:
        os.umask(mask)
    return sock


def _new_socket() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
