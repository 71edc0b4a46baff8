"""The TLS handshake by itself: a CA fetched by its fingerprint, and what is wrong when no connection comes about."""

from __future__ import annotations

import contextlib
import datetime as dt
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from joblog.errors import Denied, JoblogError, NotAuthenticated, Unavailable
from joblog.trust import Trust, fingerprint_of, fingerprint_text

if TYPE_CHECKING:
    from cryptography import x509

T = TypeVar("T")

TIMEOUT_SECONDS = 5.0
_PIECE_BYTES = 16 << 10
_NOT_YET_VALID, _EXPIRED, _HOST_MISMATCH, _ADDRESS_MISMATCH = 9, 10, 62, 64


def resolved(address: str, trust: Trust) -> Trust:
    """The same with the CA itself in place of its fingerprint, fetched from the leader where it is not at hand.

    Raises Unavailable when nobody answers, Denied when whoever answers does not have that CA.
    """
    if trust.plaintext or trust.ca or not trust.fingerprint:
        return trust
    return replace(trust, ca=fetch_ca(address, trust.fingerprint))


def fetch_ca(address: str, fingerprint: bytes) -> bytes:
    """PEM of the CA with this fingerprint, from what the server at an address shows. Raises Unavailable, Denied.

    Nothing is taken on trust but the fingerprint: whoever shows this certificate may not have its key, so connect anew
    with it as the only root.
    """
    from cryptography.hazmat.primitives import hashes, serialization

    shown = _shown_chain(address)
    for certificate in shown:
        if certificate.fingerprint(hashes.SHA256()) == fingerprint:
            return certificate.public_bytes(serialization.Encoding.PEM)
    there = fingerprint_text(shown[-1].fingerprint(hashes.SHA256())) if shown else "none"
    raise _other_ca(address, fingerprint, there)


def _other_ca(address: str, expected: bytes, there: str) -> Denied:
    wanted = f"the CA with SHA-256 {fingerprint_text(expected)}" if expected else "a CA that this system knows"
    return Denied(
        f"what answers at {address} is not the leader that is trusted here: it does not come from {wanted}"
        f"{f', but from {there}' if there else ''}. It may be another leader, one whose CA was made anew, or somebody "
        "in between; compare with what the leader logs at its start, and get a new token from it: workers join "
        "again with --join, users with `joblog login`"
    )


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _is_ip(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()


def _shown_chain(address: str) -> list[x509.Certificate]:
    """All certificates that a server shows, verified by nobody. Raises Unavailable, Denied."""
    from OpenSSL import SSL

    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_verify(SSL.VERIFY_NONE, None)
    context.set_alpn_protos([b"h2"])
    host, port = _host_and_port(address)
    deadline = time.monotonic() + TIMEOUT_SECONDS
    with _connected(address, host, port) as sock:
        sock.setblocking(False)
        connection = SSL.Connection(context, sock)
        connection.set_connect_state()
        if not _is_ip(host):
            connection.set_tlsext_host_name(host.encode("idna"))
        while True:
            try:
                connection.do_handshake()
                break
            except SSL.WantReadError:
                _wait(sock, select.POLLIN, deadline)
            except SSL.WantWriteError:
                _wait(sock, select.POLLOUT, deadline)
            except (SSL.Error, OSError) as error:
                raise _no_tls(address, error) from None
            if time.monotonic() >= deadline:
                raise Unavailable(f"the leader at {address} did not finish the TLS handshake in {TIMEOUT_SECONDS:g} s")
        return list(connection.get_peer_cert_chain(as_cryptography=True) or ())


def _wait(sock: socket.socket, event: int, deadline: float) -> None:
    # select() takes no descriptor beyond 1023, and an agent has thousands of files open.
    waiting = select.poll()
    waiting.register(sock, event)
    waiting.poll(max(0.0, deadline - time.monotonic()) * 1000)


def _no_tls(address: str, error: Exception) -> JoblogError:
    if "wrong version number" in str(error).lower() or "WRONG_VERSION_NUMBER" in str(error):
        return _speaks_plaintext(address)
    return Unavailable(f"the leader at {address} ended the TLS handshake: {str(error)[:200] or 'without a word'}")


def _speaks_plaintext(address: str) -> Denied:
    return Denied(
        f"what answers at {address} does not speak TLS. If it is a leader that was started with --plaintext, and "
        "everybody on the way may read tokens and logs, ask for the same with --plaintext or JOBLOG_PLAINTEXT=1"
    )


@contextlib.contextmanager
def _connected(address: str, host: str, port: int) -> Iterator[socket.socket]:
    try:
        sock = socket.create_connection((host, port), TIMEOUT_SECONDS)
    except (OSError, UnicodeError) as error:
        raise Unavailable(f"the leader at {address} can't be reached ({error})") from None
    with sock:
        yield sock


class _Talk:
    """TLS over a connected socket, which stays its owner's to close.

    SSLContext.wrap_socket takes the socket over, and leaves it open where the other side has hung up by then.
    """

    def __init__(self, context: ssl.SSLContext, sock: socket.socket, server_name: str | None = None) -> None:
        self._sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)

    def shake_hands(self) -> None:
        """Raises ssl.SSLError, OSError."""
        self._do(self._tls.do_handshake)

    def send(self, data: bytes) -> None:
        """Raises ssl.SSLError, OSError."""
        self._do(lambda: self._tls.write(data))

    def receive(self) -> bytes:
        """The next bytes, at most some; empty at the end. Raises ssl.SSLError, OSError."""
        return self._do(lambda: self._tls.read(_PIECE_BYTES))

    def _do(self, step: Callable[[], T]) -> T:
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                self._flush()
                if data := self._sock.recv(_PIECE_BYTES):
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()
            except ssl.SSLError:
                # An alert says what is wrong with the other side, if that still listens.
                with contextlib.suppress(OSError):
                    self._flush()
                raise
            else:
                self._flush()
                return result

    def _flush(self) -> None:
        if data := self._outgoing.read():
            self._sock.sendall(data)


def explain(address: str, trust: Trust) -> JoblogError | None:
    """Why no encrypted connection comes about, tried once more; None when that does not show it.

    Blocks for up to a few seconds. Denied: the leader can't be trusted, or speaks otherwise. NotAuthenticated: it does
    not take our certificate. None too when it just can't be reached.
    """
    if address.startswith("unix:"):
        return None
    host, port = _host_and_port(address)
    try:
        with _connected(address, host, port) as sock:
            return _speaks_tls(address, sock) if trust.plaintext else _tried(address, host, sock, trust)
    except Denied as error:
        return error
    except (JoblogError, OSError):
        return None


def _speaks_tls(address: str, sock: socket.socket) -> JoblogError | None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        _Talk(context, sock).shake_hands()
    except (ssl.SSLError, OSError):
        return None
    return Denied(f"the leader at {address} speaks TLS: leave --plaintext and JOBLOG_PLAINTEXT away")


def _tried(address: str, host: str, sock: socket.socket, trust: Trust) -> JoblogError | None:
    trust = resolved(address, trust)
    context = ssl.create_default_context(cadata=trust.ca.decode() or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    if trust.certificate:
        _show(context, trust)
    talk = _Talk(context, sock, trust.server_name or host)
    try:
        talk.shake_hands()
        # In TLS 1.3 the server looks at our certificate only now; gRPC hangs up without a word when it is not good.
        with contextlib.suppress(ConnectionError, ssl.SSLEOFError):
            talk.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
            if talk.receive():
                return None
        return _refused(address, trust)
    except ssl.SSLCertVerificationError as error:
        return _not_verified(address, host, trust, error)
    except ssl.SSLError as error:
        if error.reason == "WRONG_VERSION_NUMBER":
            return _speaks_plaintext(address)
    return None


def _refused(address: str, trust: Trust) -> NotAuthenticated:
    """For a server that was fine itself, and hung up when it saw what we have."""
    from cryptography import x509

    if not trust.certificate:
        return NotAuthenticated(
            f"what answers at {address} asks for a worker's certificate: clients use the leader's other gRPC address"
        )
    ends = x509.load_pem_x509_certificate(trust.certificate).not_valid_after_utc
    now = dt.datetime.now(dt.UTC)
    why = f"it has expired on {ends:%Y-%m-%d %H:%M:%S UTC}" if ends <= now else "it comes from another CA"
    return NotAuthenticated(
        f"the leader at {address} does not take this worker's certificate ({why}, or the clocks differ: the one "
        f"here says {now:%Y-%m-%d %H:%M:%S UTC}); the worker has to join again"
    )


def _show(context: ssl.SSLContext, trust: Trust) -> None:
    import os

    fd = os.memfd_create("joblog-certificate", os.MFD_CLOEXEC)
    with os.fdopen(fd, "wb") as file:
        file.write(trust.certificate.rstrip() + b"\n" + trust.key)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{fd}")


def _not_verified(address: str, host: str, trust: Trust, error: ssl.SSLCertVerificationError) -> JoblogError:
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    try:
        shown = _shown_chain(address)
    except JoblogError:
        shown = []
    leaf = shown[0] if shown else None
    if error.verify_code == _EXPIRED:
        when = f" on {leaf.not_valid_after_utc:%Y-%m-%d %H:%M:%S UTC}" if leaf is not None else ""
        return Denied(
            f"the certificate of the leader at {address} has expired{when}; the clock here says {now}. If the clock is "
            "right, renew tls.certificate on the leader, or look at why it does not renew its own"
        )
    if error.verify_code == _NOT_YET_VALID:
        when = f" before {leaf.not_valid_before_utc:%Y-%m-%d %H:%M:%S UTC}" if leaf is not None else " yet"
        return Denied(
            f"the certificate of the leader at {address} is not valid{when}; the clock here says {now}: set the clocks "
            "of both machines, best by an NTP client"
        )
    if error.verify_code in (_HOST_MISMATCH, _ADDRESS_MISMATCH):
        names = f" (it is for {', '.join(_names(leaf)[:10])})" if leaf is not None else ""
        return Denied(
            f"the certificate of the leader at {address} is not for {trust.server_name or host}{names}: use one of "
            f"these, or add {host} to tls.names on the leader"
        )
    return _other_ca(address, fingerprint_of(trust.ca), _root_text(shown))


def _root_text(shown: list[x509.Certificate]) -> str:
    from cryptography.hazmat.primitives import hashes

    return f"SHA-256 {fingerprint_text(shown[-1].fingerprint(hashes.SHA256()))}" if len(shown) > 1 else ""


def _names(leaf: x509.Certificate) -> list[str]:
    from cryptography import x509

    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [str(name.value) for name in names]
