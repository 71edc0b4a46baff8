"""The leader's own certificate authority: it signs the leader's certificate, and one for each worker that joins."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from joblog.errors import Corrupt, InvalidInput, NotFound
from joblog.leader.access.records import serial_text
from joblog.private_file import read_private, write_private

CA_FILE = "ca.pem"
CA_KEY_FILE = "ca.key"
MAX_REQUEST_BYTES = 8 << 10
_CA_DAYS = 20 * 365
# A machine whose clock is behind finds a fresh certificate valid nonetheless.
BACKDATED_SECONDS = 300
# What X.520 allows; the whole worker id is in the URI.
_MAX_COMMON_NAME = 64  # bytes
_CURVES = (ec.SECP256R1, ec.SECP384R1)


class Pair(NamedTuple):
    """A certificate chain, its own certificate first, and its key; PEM."""

    chain: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class Issued:
    """A worker's certificate. serial: as in records.CertificateRecord."""

    chain: bytes
    serial: str
    expires_ns: int
    worker_id: str = field(default="")


class Authority:
    """The CA in a folder of the leader's. Its methods can be called from any thread."""

    def __init__(
        self,
        certificate: x509.Certificate,
        key: ec.EllipticCurvePrivateKey,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._certificate = certificate
        self._key = key
        self._clock = clock
        self.pem = pem_of(certificate)
        self.fingerprint = certificate.fingerprint(hashes.SHA256())

    @classmethod
    def open(cls, folder: Path, *, clock: Callable[[], int] = time.time_ns) -> Authority:
        """The CA that is kept in `folder`, made there when there is none.

        Raises Denied when others may read its key, Corrupt when a part is missing or the parts do not fit.
        """
        certificate_file, key_file = folder / CA_FILE, folder / CA_KEY_FILE
        try:
            key = _read_key(key_file)
        except NotFound:
            if certificate_file.exists():
                raise Corrupt(
                    f"{key_file}: is missing. Put it back from a backup, or remove {certificate_file} too: then a new "
                    "CA is made, and all tokens and workers have to be made and joined anew"
                ) from None
            key = ec.generate_private_key(ec.SECP256R1())
            write_private(key_file, key_pem_of(key))
        try:
            certificate = read_certificates(read_private(certificate_file), str(certificate_file))[0]
        except NotFound:
            # The key was written, and then the machine went down.
            certificate = _self_signed(key, clock())
            write_private(certificate_file, pem_of(certificate))
        if certificate.public_key() != key.public_key():
            raise Corrupt(f"{certificate_file} and {key_file} do not belong together: put both back from one backup")
        if certificate.not_valid_after_utc <= _moment(clock()):
            raise Corrupt(f"{certificate_file}: has expired: remove it and {key_file}, and join all workers anew")
        return cls(certificate, key, clock)

    def replace(self, folder: Path, ca: bytes, key: bytes) -> None:
        """Becomes another CA, here and in `folder`. ca, key: PEM. Can be repeated. Raises Corrupt, OutOfSpace."""
        certificate = read_certificates(ca, "the CA that was kept")[0]
        if certificate.fingerprint(hashes.SHA256()) == self.fingerprint:
            return
        # A key without its certificate is what open() can go on with, should the machine go down here.
        (folder / CA_FILE).unlink(missing_ok=True)
        write_private(folder / CA_KEY_FILE, key)
        write_private(folder / CA_FILE, ca)
        self._certificate, self._key = certificate, _read_key(folder / CA_KEY_FILE)
        self.pem, self.fingerprint = pem_of(certificate), certificate.fingerprint(hashes.SHA256())

    def server_pair(self, names: Collection[str], lifetime_seconds: float) -> Pair:
        """A fresh key and certificate for a server with these host names and addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "joblog leader")]), lifetime_seconds)
        certificate = self._signed(
            builder.public_key(key.public_key())
            .add_extension(x509.SubjectAlternativeName([general_name(name) for name in names]), critical=False)
            .add_extension(_usage(), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False),
            key.public_key(),
        )
        return Pair(pem_of(certificate) + self.pem, key_pem_of(key))

    def issue(self, request: bytes, worker_id: str, lifetime_seconds: float) -> Issued:
        """A worker's certificate for the key of a PKCS#10 request (DER), of which nothing else counts.

        Raises InvalidInput when the request is none, is not signed by its key, or the key is of a weak kind.
        """
        public_key = _requested_key(request)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name_of(worker_id))])
        builder = self._builder(subject, lifetime_seconds)
        certificate = self._signed(
            builder.public_key(public_key)
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(worker_uri(worker_id))]), critical=False
            )
            .add_extension(_usage(), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False),
            public_key,
        )
        expires_ns = int(certificate.not_valid_after_utc.timestamp()) * 10**9
        return Issued(pem_of(certificate) + self.pem, serial_text(certificate.serial_number), expires_ns, worker_id)

    def _builder(self, subject: x509.Name, lifetime_seconds: float) -> x509.CertificateBuilder:
        now = self._clock()
        ends = min(_moment(now + int(lifetime_seconds * 1e9)), self._certificate.not_valid_after_utc)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._certificate.subject)
            .serial_number(x509.random_serial_number())
            .not_valid_before(_moment(now - BACKDATED_SECONDS * 10**9))
            .not_valid_after(ends)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        )

    def _signed(self, builder: x509.CertificateBuilder, public_key: Any) -> x509.Certificate:
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return (
            builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(issuer, critical=False)
            .sign(self._key, hashes.SHA256())
        )


def common_name_of(worker_id: str) -> str:
    """The common name of a worker's certificate: its id, or what fits of it."""
    return worker_id.encode()[:_MAX_COMMON_NAME].decode(errors="ignore")


def worker_uri(worker_id: str) -> str:
    """A worker's name in its certificate."""
    return f"joblog://worker/{quote(worker_id, safe='')}"


def general_name(name: str) -> x509.GeneralName:
    """A host name or address as a certificate holds it."""
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def pem_of(certificate: x509.Certificate) -> bytes:
    """A certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_pem_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A key as PEM, in clear."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def read_certificates(pem: bytes, where: str) -> list[x509.Certificate]:
    """All certificates of a PEM text, at least one. Raises Corrupt."""
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise Corrupt(f"{where}: holds no certificate in PEM") from None


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(read_private(path), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise Corrupt(f"{path}: holds no key in PEM: put it back from a backup") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise Corrupt(f"{path}: holds a key of another kind than this leader makes")
    return key


def _requested_key(request: bytes) -> ec.EllipticCurvePublicKey | rsa.RSAPublicKey:
    if len(request) > MAX_REQUEST_BYTES:
        raise InvalidInput(f"request: has {len(request)} bytes, at most {MAX_REQUEST_BYTES} are allowed")
    try:
        found = x509.load_der_x509_csr(request)
        signed = found.is_signature_valid
        key = found.public_key()
    except (ValueError, UnsupportedAlgorithm, InvalidSignature):
        raise InvalidInput("request: is no PKCS#10 request (DER)") from None
    if not signed:
        raise InvalidInput("request: is not signed with its own key")
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, _CURVES):
        return key
    if isinstance(key, rsa.RSAPublicKey) and 2048 <= key.key_size <= 4096:
        return key
    raise InvalidInput("request: its key must be on the curve P-256 or P-384, or RSA of 2048 to 4096 bits")


def _self_signed(key: ec.EllipticCurvePrivateKey, now_ns: int) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"joblog CA {os.urandom(4).hex()}")])
    now = _moment(now_ns)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=_CA_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _usage(*, signs: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _moment(at_ns: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(at_ns // 10**9, dt.UTC)
