"""An HTTP proxy before an S3 server that does to requests and replies what a test asks for."""

from __future__ import annotations

import datetime as dt
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

REFUSED = "refused"
LOST = "lost"
SILENT = "silent"
TRUNCATED = "truncated"
DAMAGED_REQUEST = "damaged request"
DAMAGED_REPLY = "damaged reply"
WRONG_ETAG = "wrong etag"

_WRONG = '"00000000000000000000000000000000"'
_SENTENCES = {"403": "Forbidden", "404": "Missing", "500": "Internal", "503": "Slow"}


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


def self_signed(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """TLS of a server at 127.0.0.1, and the file with the certificate that its clients must trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, ca_file = serialization.Encoding.PEM, folder / "ca.pem"
    ca_file.write_bytes(certificate.public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    both = folder / "server.pem"
    both.write_bytes(private + certificate.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    return context, ca_file


class S3Proxy:
    """Forwards to the server at `target`. `faults` may be changed at any time; `requests` counts methods."""

    def __init__(self, target: str, tls: ssl.SSLContext | None = None) -> None:
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
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, name="s3 proxy")
        self._thread.start()
        self.endpoint = f"http{'s' if tls else ''}://127.0.0.1:{self._server.server_address[1]}"

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
def s3_proxy(target: str, tls: ssl.SSLContext | None = None) -> Iterator[S3Proxy]:
    """tls: that of the proxy's own side; clients see https then."""
    proxy = S3Proxy(target, tls)
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
