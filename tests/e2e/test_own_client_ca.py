"""Workers with certificates of a CA of one's own: nobody joins, and the common name is the worker's id."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from joblog.leader.access.authority import Authority
from joblog.worker.identity_files import request_for
from tests.e2e.machine import until
from tests.e2e.test_tls import connected
from tests.e2e.two_machines import Host
from tests.unit.test_handshake import authority

RUN = ["run", "--quiet", "--run", "r", "--drain", "20"]


@pytest.fixture
def hosts(data_dir: Path) -> Iterator[tuple[Host, Host]]:
    first, second = Host(data_dir / "1", "127.0.0.1"), Host(data_dir / "2", "127.0.0.1")
    yield first, second
    second.close()
    first.close()


def give(ca: Authority, worker: Host, name: str) -> str:
    """Puts a fresh certificate and key into the worker's files; the serial number."""
    private = ec.generate_private_key(ec.SECP256R1())
    key = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    issued = ca.issue(request_for(key), name, 3600)
    for path, content in (("own.key", key), ("own.pem", issued.chain)):
        fresh = worker.folder / f"{path}.new"
        fresh.write_bytes(content)
        fresh.chmod(0o600)
        fresh.replace(worker.folder / path)
    return issued.serial


def settings_of(worker: Host, leader_ca: bytes, address: str) -> dict[str, str]:
    ca = worker.folder / "leader-ca.pem"
    ca.write_bytes(leader_ca)
    return {
        "JOBLOG_IDENTITY_CERTIFICATE": str(worker.folder / "own.pem"),
        "JOBLOG_IDENTITY_KEY": str(worker.folder / "own.key"),
        "JOBLOG_IDENTITY_CA": str(ca),
        "JOBLOG_LEADER": address,
        "JOBLOG_SHIP_BACKOFF_MAX_SECONDS": "0.3",
    }


def test_a_worker_with_a_certificate_from_elsewhere(hosts: tuple[Host, Host], tmp_path: Path) -> None:
    leader, worker = hosts
    theirs, others = authority(tmp_path / "theirs"), authority(tmp_path / "others")
    client_ca = tmp_path / "client-ca.pem"
    client_ca.write_bytes(theirs.pem)
    there = leader.start_leader(
        JOBLOG_TLS_CLIENT_CA_FILE=str(client_ca), JOBLOG_ACCESS_CLIENT_CERTIFICATES="team-*, default"
    )
    worker.environment |= settings_of(worker, there.ca.encode(), there.workers_address)

    # With a token nobody joins here; nor is a certificate of another CA taken.
    text = leader.token("writer")
    refused = worker.call(
        *RUN[:-1], "1", "--task", "j", "--", "true", JOBLOG_JOIN_TOKEN=text, JOBLOG_LEADER=there.grpc_address,
        JOBLOG_IDENTITY_CERTIFICATE="", JOBLOG_IDENTITY_KEY="", JOBLOG_DATA_DIR=str(worker.folder / "joining"),
    )  # fmt: skip
    assert b"the leader has not taken all yet" in refused.stderr
    give(others, worker, "machine-7")
    worker.start("worker")
    until(lambda: "does not take this worker's certificate" in worker.said(), "the leader refuses another CA")
    assert not connected(leader)

    # The right one is read without a restart.
    first = give(theirs, worker, "machine-7")
    until(lambda: connected(leader), "the worker is connected")
    assert "worker machine-7 " in leader.said()
    worker.call(*RUN, "-n", "team-a", "--task", "t", "--", "echo", "shipped")
    until(lambda: leader.call("logs", "-n", "team-a", "r/t", check=False).stdout == b"shipped\n", "the log has come")
    stat = json.loads(leader.call("stat", "-n", "team-a", "r/t", "--json").stdout)["log"]
    assert stat["start"]["worker_id"] == "machine-7"
    assert json.loads(leader.call("certificates", "ls", "--json").stdout) == []

    # Where its grants do not reach it writes nothing, and it reads nothing at all.
    worker.call(*RUN[:-1], "1", "-n", "secret", "--task", "t", "--", "echo", "no")
    assert leader.call("stat", "-n", "secret", "r/t", check=False).returncode == 3

    # Another certificate is shown without a restart, and its stream goes on.
    assert give(theirs, worker, "machine-7") != first
    until(lambda: "the worker's certificate is renewed" in worker.said(), "the new certificate is shown")
    worker.call(*RUN, "--task", "u", "--", "echo", "again")
    until(lambda: leader.call("logs", "r/u", check=False).stdout == b"again\n", "the log has come")

    # Without a daemon, too.
    worker.processes[0].terminate()
    assert worker.processes[0].wait(30) in (0, 10)
    worker.call(*RUN, "--task", "v", "--", "echo", "alone")
    assert leader.call("logs", "r/v").stdout == b"alone\n"
    assert "Traceback" not in worker.said() + leader.said()


def test_files_that_fit_nothing_are_said_so(hosts: tuple[Host, Host], tmp_path: Path) -> None:
    _, worker = hosts
    theirs = authority(tmp_path / "theirs")
    worker.environment |= settings_of(worker, theirs.pem, "127.0.0.1:1")
    give(theirs, worker, "machine-7")
    kept = (worker.folder / "own.key").read_bytes()
    give(theirs, worker, "machine-7")
    (worker.folder / "own.key").write_bytes(kept)
    done = worker.call("worker", check=False)
    assert done.returncode != 0 and b"is not the key of the certificate in" in done.stderr
    (worker.folder / "own.key").chmod(0o644)
    done = worker.call("worker", check=False)
    assert done.returncode == 5 and b"others may read it" in done.stderr
    (worker.folder / "own.pem").unlink()
    done = worker.call("worker", check=False)
    assert done.returncode == 3 and b"does not exist" in done.stderr
    done = worker.call("worker", check=False, JOBLOG_IDENTITY_KEY="")
    assert b"identity.certificate" in done.stderr and b"must be set together" in done.stderr
