"""The certificate that the leader's servers show: made by its own CA, or given in files; renewed while they run."""

from __future__ import annotations

import datetime as dt
import logging
import os
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from joblog.errors import Corrupt, InvalidInput, NotFound
from joblog.leader.access.authority import Authority, Pair, general_name, read_certificates
from joblog.private_file import read_private, write_private
from joblog.reread import Reread, server_credentials

log = logging.getLogger(__name__)

SERVER_FILE = "server.pem"
SERVER_KEY_FILE = "server.key"
# A new certificate is made when so much of the old one's life is over.
_SHARE_OF_LIFE = 2 / 3
# Names of a machine change seldom, and looking for them takes a while.
_NAMES_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class GivenFiles:
    """Certificate files of one's own. ca: who signs the leader's; None: one that systems know.

    client_ca: who signs the workers' certificates; None: the leader itself.
    """

    certificate: Path | None = None
    key: Path | None = None
    ca: Path | None = None
    client_ca: Path | None = None

    def all(self) -> list[Path]:
        """Those that are given."""
        return [path for path in (self.certificate, self.key, self.ca, self.client_ca) if path is not None]


@dataclass(frozen=True, slots=True)
class Shown:
    """What the servers show and ask for. ca: PEM of who vouches for the leader; empty where systems know it.

    client_ca: PEM of who vouches for workers. fingerprint: SHA-256 of the CA's DER; empty where systems know it.
    """

    pair: Pair = field(repr=False)
    ca: bytes
    client_ca: bytes
    fingerprint: bytes


class ServerCertificate:
    """Keeps the certificate fresh. Thread-safe: gRPC asks in threads of its own, once for each connection.

    What can't be used leaves the old certificate in force: see Reread.
    """

    def __init__(
        self,
        folder: Path,
        authority: Authority,
        names: Callable[[], list[str]],
        *,
        given: GivenFiles | None = None,
        lifetime_seconds: float = 30 * 86_400.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Reads or makes the certificate. Raises JoblogError when that fails."""
        self._folder = folder
        self._authority = authority
        self._names = names
        self._given = given or GivenFiles()
        self._lifetime_seconds = lifetime_seconds
        self._clock = clock
        self._named = float("-inf")
        self._contexts: list[ssl.SSLContext] = []
        self._fresh = Reread(self._given.all(), self._read, taken=self._show, is_due=self._is_due)

    @property
    def is_foreign(self) -> bool:
        """Whether others than the leader itself vouch for workers."""
        return self._given.client_ca is not None

    def current(self) -> Shown:
        """What is shown now; looks for something newer at most once a second."""
        return self._fresh.current()

    def renew(self) -> None:
        """Looks at once, as the CA is another one now. Raises JoblogError; the old one then stays in force."""
        self._fresh.renew()

    def _show(self, fresh: Shown) -> None:
        for context in self._contexts:
            _load(context, fresh.pair)

    def _is_due(self, shown: Shown) -> bool:
        if self._given.certificate is not None:
            return False
        if time.monotonic() - self._named >= _NAMES_SECONDS:
            return True
        return _is_old(read_certificates(shown.pair.chain, SERVER_FILE)[0], self._clock())

    def _read(self) -> Shown:
        given, authority = self._given, self._authority
        client_ca = _read_ca(given.client_ca) if given.client_ca is not None else authority.pem
        if given.certificate is None or given.key is None:
            return Shown(self._own(), authority.pem, client_ca, authority.fingerprint)
        pair = Pair(_read_file(given.certificate), read_private(given.key))
        ca, fingerprint = b"", b""
        if given.ca is not None:
            ca = _read_ca(given.ca)
            root = read_certificates(ca, str(given.ca))[0]
            fingerprint = root.fingerprint(hashes.SHA256())
            # Who knows nothing but the fingerprint finds the CA among what is shown.
            if root not in read_certificates(pair.chain, str(given.certificate)):
                pair = pair._replace(chain=pair.chain.rstrip() + b"\n" + ca)
        check_pair(pair, f"{given.certificate} and {given.key}")
        return Shown(pair, ca, client_ca, fingerprint)

    def _own(self) -> Pair:
        """The leader's own, made anew when its names or time do not suffice any more."""
        names = self._names()
        self._named = time.monotonic()
        chain_file, key_file = self._folder / SERVER_FILE, self._folder / SERVER_KEY_FILE
        try:
            pair = Pair(read_private(chain_file), read_private(key_file))
            leaf, *more = check_pair(pair, f"{chain_file} and {key_file}")
            signed = any(ca.fingerprint(hashes.SHA256()) == self._authority.fingerprint for ca in more)
            if signed and not _is_old(leaf, self._clock()) and _has_names(leaf, names):
                return pair
        except (NotFound, Corrupt):
            pass
        pair = self._authority.server_pair(names, self._lifetime_seconds)
        write_private(key_file, pair.key)
        write_private(chain_file, pair.chain)
        return pair

    def name_for(self, host: str) -> str:
        """A name to look for in the certificate by who connects to `host`; empty where that itself is in it."""
        leaf = read_certificates(self.current().pair.chain, SERVER_FILE)[0]
        if _has_names(leaf, [host]):
            return ""
        try:
            has = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return ""
        return next((name for name in has.get_values_for_type(x509.DNSName) if not name.startswith("*")), "")

    # What servers take

    def context(self) -> ssl.SSLContext:
        """For HTTP over TLS; goes on with what is shown later on, as long as current() is called now and then."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.set_alpn_protocols(["http/1.1"])
        with self._fresh.lock:
            _load(context, self.current().pair)
            self._contexts.append(context)
        return context

    def credentials(self, *, for_workers: bool) -> grpc.ServerCredentials:
        """For a gRPC listener; for_workers: one that asks for a client certificate, and takes none without."""
        return server_credentials(
            self.current, lambda shown: _configuration(shown, for_workers=for_workers), ask_clients=for_workers
        )


def _configuration(shown: Shown, *, for_workers: bool) -> grpc.ServerCertificateConfiguration:
    pair = shown.pair
    return grpc.ssl_server_certificate_configuration([(pair.key, pair.chain)], shown.client_ca if for_workers else None)


def _load(context: ssl.SSLContext, pair: Pair) -> None:
    """Raises Corrupt. OpenSSL takes files only; this one is in memory."""
    fd = os.memfd_create("joblog-certificate", os.MFD_CLOEXEC)
    with os.fdopen(fd, "wb") as file:
        file.write(pair.chain.rstrip() + b"\n" + pair.key)
        file.flush()
        try:
            context.load_cert_chain(f"/proc/self/fd/{fd}")
        except ssl.SSLError as error:
            raise Corrupt(f"the certificate can't be used: {error.reason}") from None


def check_pair(pair: Pair, where: str) -> list[x509.Certificate]:
    """The certificates of the chain. Raises Corrupt, InvalidInput when they and the key can't be used together."""
    chain = read_certificates(pair.chain, where)
    try:
        key = serialization.load_pem_private_key(pair.key, None)
    except TypeError:
        raise InvalidInput(f"{where}: the key has a passphrase; give one without, mode 0600") from None
    except ValueError:
        raise Corrupt(f"{where}: hold no key in PEM") from None
    if key.public_key() != chain[0].public_key():
        raise Corrupt(f"{where}: the key is not that of the first certificate")
    return chain


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise NotFound(f"{path}: can't be read: {error.strerror}") from None


def _read_ca(path: Path) -> bytes:
    pem = _read_file(path)
    read_certificates(pem, str(path))
    return pem


def _is_old(certificate: x509.Certificate, now: float) -> bool:
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    turn = begins + (ends - begins) * _SHARE_OF_LIFE
    return dt.datetime.fromtimestamp(now, dt.UTC) >= turn


def _has_names(certificate: x509.Certificate, names: list[str]) -> bool:
    try:
        has = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    return {general_name(name) for name in names} <= set(has)
