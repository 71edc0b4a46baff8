"""Certificates that look right and are not: the leader's own listener for workers takes none of them."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from joblog.errors import NotAuthenticated
from joblog.leader.access.authority import Authority
from joblog.trust import Trust
from joblog.worker.identity_files import new_key, request_for
from tests.unit.test_handshake import authority, certificate, error_at, listening


def signed(subject: x509.Name, issuer: x509.Name, by: ec.EllipticCurvePrivateKey | None) -> tuple[bytes, bytes]:
    """(certificate for clients, its key); by: None signs with the certificate's own key."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = dt.datetime.now(dt.UTC)
    built = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1)).not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=subject == issuer, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(by or key, hashes.SHA256())
    )  # fmt: skip
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return built.public_bytes(serialization.Encoding.PEM), pem


def name_of(ca: Authority) -> x509.Name:
    return x509.load_pem_x509_certificate(ca.pem).subject


@pytest.mark.parametrize("kind", ["self-signed", "signed by a CA of that name", "signed by a worker"])
async def test_a_certificate_with_the_cas_name(tmp_path: Path, kind: str) -> None:
    ca = authority(tmp_path / "a")
    worker = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "w")])
    if kind == "self-signed":
        chain, key = signed(name_of(ca), name_of(ca), None)
    elif kind == "signed by a CA of that name":
        chain, key = signed(worker, name_of(ca), ec.generate_private_key(ec.SECP256R1()))
    else:
        # A worker's certificate is no CA's, whatever it signs.
        own = new_key()
        issued = ca.issue(request_for(own), "w", 3600).chain
        signer = serialization.load_pem_private_key(own, None)
        assert isinstance(signer, ec.EllipticCurvePrivateKey)
        chain, key = signed(worker, x509.load_pem_x509_certificate(issued).subject, signer)
        chain += issued
    async with listening(certificate(tmp_path / "a", ca), for_workers=True) as address:
        error = await error_at(address, Trust(ca=ca.pem, key=key, certificate=chain))
        assert "is no joblog leader" not in str(error)
        assert isinstance(error, NotAuthenticated), error


async def test_the_servers_certificate_is_no_clients(tmp_path: Path) -> None:
    """Who reads the server's key is not thereby a worker."""
    ca = authority(tmp_path / "a")
    server = certificate(tmp_path / "a", ca)
    shown = server.current()
    key = (tmp_path / "a" / "server.key").read_bytes()
    async with listening(server, for_workers=True) as address:
        error = await error_at(address, Trust(ca=ca.pem, key=key, certificate=shown.pair.chain))
        assert "is no joblog leader" not in str(error), error


async def test_a_workers_certificate_is_no_servers(tmp_path: Path) -> None:
    """A worker that poses as the leader is not believed, though the CA has signed its certificate."""
    ca = authority(tmp_path / "a")
    key = new_key()
    chain = ca.issue(request_for(key), "localhost", 3600).chain

    class Poser:
        def credentials(self, *, for_workers: bool) -> object:
            import grpc

            return grpc.ssl_server_credentials([(key, chain)])

    async with listening(Poser()) as address:  # type: ignore[arg-type]
        error = await error_at(address, Trust(ca=ca.pem))
        assert "is no joblog leader" not in str(error), error
