"""An HTTP proxy before an S3 server that does to requests and replies what a test asks for."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

REFUSED = "refused"
LOST = "lost"
SILENT = "silent"
TRUNCATED = "truncated"
DAMAGED_REQUEST = "damaged request"
DAMAGED_REPLY = "damaged reply"
WRONG_ETAG = "wrong etag"

_WRONG = '"00000000000000000000000000000000"'
_SENTENCES = {"403": "Forbidden", "500": "Internal", "503": "Slow"}


@dataclass
class Fault:
    """What befalls the next `times` requests with `method` whose URL has `within` in it.

    kind: REFUSED before it was forwarded; LOST: the connection ends without the reply; SILENT: so does the reply, and
    the connection stays; TRUNCATED, DAMAGED_REPLY: the reply's body; DAMAGED_REQUEST: the request's; WRONG_ETAG: in the
    reply; or a status and code, as "503 SlowDown", instead of forwarding it.
    """

    method: str
    kind: str
    times: int = 1
    within: str = ""


class S3Proxy:
    """Forwards to the server at `target`. `faults` may be changed at any time; `requests` counts methods."""

    def __init__(self, target: str) -> None:
        self.target = urlsplit(target).netloc
        self.faults: list[Fault] = []
        self.requests: Counter[str] = Counter()
        self.forwarded: Counter[str] = Counter()
        self.released = threading.Event()
        self._lock = threading.Lock()

        class Handler(_Handler):
            proxy = self

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="s3 proxy")
        self._thread.start()
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def fault(self, method: str, url: str) -> str:
        """What befalls this request; "" for nothing."""
        with self._lock:
            self.requests[method] += 1
            for fault in self.faults:
                if fault.times and fault.method in (method, "*") and fault.within in url:
                    fault.times -= 1
                    return fault.kind
        return ""

    def count(self, method: str) -> None:
        with self._lock:
            self.forwarded[method] += 1


@contextmanager
def s3_proxy(target: str) -> Iterator[S3Proxy]:
    proxy = S3Proxy(target)
    try:
        yield proxy
    finally:
        proxy.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: S3Proxy

    def do(self) -> None:
        fault = self.proxy.fault(self.command, self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if fault == REFUSED:
            self.close_connection = True
        elif fault[:3].isdigit():
            self._say(fault)
        else:
            self._forward(fault, body)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do  # noqa: N815 - the base class's names

    def _say(self, fault: str) -> None:
        status, _, code = fault.partition(" ")
        text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{_SENTENCES[status]}</Message></Error>"
        self.send_response(int(status))
        self.send_header("Content-Length", "0" if self.command == "HEAD" else str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text.encode())

    def _forward(self, fault: str, body: bytes) -> None:
        if fault == DAMAGED_REQUEST:
            body = _damaged(body)
        connection = HTTPConnection(self.proxy.target, timeout=60)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in ("expect", "connection"):
                    connection.putheader(name, value)
            connection.endheaders(body or None)
            reply = connection.getresponse()
            data = reply.read()
        finally:
            connection.close()
        self.proxy.count(self.command)
        if fault == SILENT:
            self.proxy.released.wait()
        if fault in (LOST, SILENT):
            self.close_connection = True
            return
        self._answer(fault, reply, data)

    def _answer(self, fault: str, reply: HTTPResponse, data: bytes) -> None:
        self.send_response_only(reply.status, reply.reason)
        for name, value in reply.getheaders():
            if name.lower() in ("connection", "transfer-encoding", "content-length"):
                continue
            self.send_header(name, _WRONG if name.lower() == "etag" and fault == WRONG_ETAG else value)
        length = reply.getheader("Content-Length") if self.command == "HEAD" else str(len(data))
        if length is not None and reply.status != 204:
            self.send_header("Content-Length", length)
        self.end_headers()
        if fault == TRUNCATED:
            data = data[: len(data) // 2]
            self.close_connection = True
        self.wfile.write(_damaged(data) if fault == DAMAGED_REPLY else data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Says nothing."""


def _damaged(data: bytes) -> bytes:
    changed = bytearray(data)
    if changed:
        changed[len(changed) // 2] ^= 0x10
    return bytes(changed)
