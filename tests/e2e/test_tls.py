"""Leader and worker as processes of two machines, from nothing: joining, mTLS, renewal, revocation, own files."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from joblog.address import KnownLeader, own_token
from joblog.client import Client
from joblog.handshake import _shown_chain
from joblog.identity import LogName
from joblog.leader.access.authority import Authority, Pair
from joblog.token import Token
from joblog.trust import Trust
from tests.e2e.machine import until
from tests.e2e.two_machines import Host, two_machines

MARKER = "MARKER-7d1f0c"
RUN = ["run", "--quiet", "--run", "r", "--drain", "20"]


@pytest.fixture
def machines(data_dir: Path) -> Iterator[tuple[Host, Host]]:
    with two_machines(data_dir) as made:
        yield made


@pytest.fixture
def hosts(data_dir: Path) -> Iterator[tuple[Host, Host]]:
    """Two machines that are one: for what the network does not matter to, and whose leader this process talks to."""
    first, second = Host(data_dir / "1", "127.0.0.1"), Host(data_dir / "2", "127.0.0.1")
    yield first, second
    second.close()
    first.close()


def certificates(leader: Host) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(leader.call("certificates", "ls", "--json").stdout)
    return found


def connected(leader: Host) -> bool:
    """Whether a worker's stream is open, by what the leader says."""
    said = leader.said()
    return said.rfind(") connected") > said.rfind(") disconnected")


def identity(worker: Host) -> x509.Certificate | None:
    path = worker.data_dir / "worker" / "identity" / "certificate.pem"
    return x509.load_pem_x509_certificate(path.read_bytes()) if path.exists() else None


def serial(worker: Host) -> int:
    found = identity(worker)
    return 0 if found is None else found.serial_number


def test_from_nothing_on_two_machines(machines: tuple[Host, Host]) -> None:
    leader, worker = machines
    there = leader.start_leader(listen="7080")
    assert (there.grpc_address, there.workers_address) == (f"{leader.address}:7080", f"{leader.address}:7082")
    assert there.http_url == f"https://{leader.address}:7081"
    text = leader.token("writer", "--namespace", "default")
    token = Token.parse(text)
    assert token.address == there.grpc_address and len(token.fingerprint) == 32

    (worker.folder / "token").write_text(text)
    worker.start("worker", "--join-file", str(worker.folder / "token"))
    until(lambda: connected(leader), "the worker is connected")
    done = worker.call(*RUN, "--task", "t", "--", "sh", "-c", f"echo {MARKER}; echo more >&2")
    assert b"not delivered" not in done.stderr
    until(
        lambda: (
            json.loads(leader.call("stat", "r/t", "--json", check=False).stdout or "{}").get("log", {}).get("state")
            == "completed"
        ),
        "the log is completed",
    )
    assert leader.call("logs", "r/t").stdout == f"{MARKER}\nmore\n".encode()
    assert leader.call("verify", "r").returncode == 0

    # The stream is the worker's own, by its certificate; the key has never left its machine.
    (one,) = certificates(leader)
    found = identity(worker)
    assert found is not None and one["serial"] == format(found.serial_number, "x")
    assert one["token_id"] == token.id
    folder = worker.data_dir / "worker" / "identity"
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    # The worker's token reads nothing, nor does its machine know another one.
    refused = worker.call("logs", "r/t", check=False, JOBLOG_TOKEN=text)
    assert (refused.returncode == 5 and b"may not" in refused.stderr) or b"no permission" in refused.stderr
    reader = leader.token("reader")
    assert worker.call("logs", "r/t", JOBLOG_TOKEN=reader).stdout == f"{MARKER}\nmore\n".encode()
    assert worker.call("login", stdin=reader).returncode == 0
    assert (worker.folder / ".config" / "joblog" / "credentials.json").stat().st_mode & 0o777 == 0o600
    assert worker.call("logs", "r/t").stdout == f"{MARKER}\nmore\n".encode()


def test_without_a_daemon_a_task_joins_by_itself_and_is_known_the_next_time(machines: tuple[Host, Host]) -> None:
    leader, worker = machines
    leader.start_leader()
    token = leader.token("writer", "--namespace", "default")
    worker.call(*RUN, "--task", "a", "--", "sh", "-c", "echo a; env", JOBLOG_JOIN_TOKEN=token)
    first = serial(worker)
    worker.call(*RUN, "--task", "b", "--", "echo", "b")
    assert serial(worker) == first != 0
    said = leader.call("logs", "r/a").stdout
    assert said.startswith(b"a\n") and token.encode() not in said
    assert leader.call("logs", "r/b").stdout == b"b\n"


class Recorder:
    """Forwards connections to target, and keeps every byte that passes."""

    def __init__(self) -> None:
        self.target = ("", 0)
        self.seen = bytearray()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(self.target, timeout=10)
            except OSError:
                return
            server.settimeout(None)
            self._sockets += [client, server]
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(1 << 16):
                self.seen += data
                sink.sendall(data)
        except OSError:
            pass
        finally:
            for one in (source, sink):
                one.close()

    def close(self) -> None:
        self._listener.close()
        for one in self._sockets:
            one.close()


@pytest.fixture
def recorders() -> Iterator[tuple[Recorder, Recorder]]:
    made = Recorder(), Recorder()
    yield made
    for one in made:
        one.close()


@pytest.mark.parametrize("plaintext", [False, True])
def test_what_passes_by_on_the_network(
    hosts: tuple[Host, Host], recorders: tuple[Recorder, Recorder], plaintext: bool
) -> None:
    """The same over plaintext, so that the test is known to see something."""
    leader, worker = hosts
    main, stream = recorders
    flags = ["--plaintext"] if plaintext else []
    there = leader.start_leader(*flags, JOBLOG_GRPC_WORKERS_ADDRESS=stream.address)
    host, _, port = there.grpc_address.rpartition(":")
    main.target = (host, int(port))
    host, _, port = (there.workers_address or there.grpc_address).rpartition(":")
    stream.target = (host, int(port))
    token = leader.token("writer", "--address", main.address)
    worker.environment |= {"JOBLOG_PLAINTEXT": "1"} if plaintext else {}
    # What does not shrink is sent as it is.
    script = f"for i in 1 2 3; do echo {MARKER}; done; head -c 3000 /dev/urandom | base64"
    worker.call(*RUN, "--task", "t", "--label", "l=LABEL-1234", "--", "sh", "-c", script, JOBLOG_JOIN_TOKEN=token)
    admin = own_token(leader.data_dir)
    reader = Token.parse(admin)
    admin = Token(reader.id, reader.secret, reader.fingerprint, main.address).text
    out = worker.call("logs", "r/t", JOBLOG_TOKEN=admin).stdout
    assert out.count(MARKER.encode()) == 3
    passed = bytes(main.seen + stream.seen)
    assert len(passed) > 6000 and bool(plaintext) != bool(stream.seen)
    secrets = [MARKER, "LABEL-1234", out.decode().splitlines()[-2], *(text.split(".")[2] for text in (token, admin))]
    found = [secret for secret in secrets if secret.encode() in passed]
    if plaintext:
        assert set(secrets[2:]) <= set(found)
        assert "can be read and changed by whoever is on the way" in leader.said()
    else:
        assert not found


def test_a_certificate_is_renewed_under_load(hosts: tuple[Host, Host]) -> None:
    leader, worker = hosts
    leader.start_leader(JOBLOG_ACCESS_CERTIFICATE_HOURS="0.001")
    worker.start("worker", JOBLOG_JOIN_TOKEN=leader.token("writer"))
    until(lambda: connected(leader), "the worker is connected")
    serials = {serial(worker)}
    stop = worker.folder / "stop"
    script = "i=0; while [ ! -e $STOP ]; do i=$((i+1)); echo $i; done"
    task = worker.start(*RUN, "--task", "t", "--", "sh", "-c", script, STOP=str(stop))
    for count in (2, 3):
        until(lambda: serial(worker) not in serials, "the certificate was renewed")
        serials.add(serial(worker))
        assert len(serials) == count
    stop.touch()
    assert task.wait(40) == 0
    until(lambda: b"complete" in leader.call("verify", "r", check=False).stdout, "it has all come")
    lines = leader.call("logs", "r/t").stdout.decode().splitlines()
    assert lines == [str(number) for number in range(1, len(lines) + 1)] and len(lines) > 1000
    assert "the worker's certificate is renewed" in worker.said()
    assert "Traceback" not in worker.said() + leader.said()


def test_a_token_that_is_revoked_ends_the_live_stream(hosts: tuple[Host, Host]) -> None:
    leader, worker = hosts
    leader.start_leader()
    token = leader.token("writer")
    worker.start("worker", JOBLOG_JOIN_TOKEN=token, JOBLOG_SHIP_BACKOFF_MAX_SECONDS="0.3")
    until(lambda: connected(leader), "the worker is connected")
    leader.call("token", "revoke", Token.parse(token).id)
    until(lambda: not connected(leader), "the stream has ended", 5)
    until(lambda: "no connection to the leader: the token 'writer" in worker.said(), "the worker says why")
    worker.call("run", "--quiet", "--run", "r", "--task", "late", "--drain", "0.1", "--", "echo", "late")
    assert not connected(leader)
    assert leader.call("stat", "r/late", check=False).returncode == 3
    # With a new token it is back, and what it kept comes.
    worker.processes[0].terminate()
    assert worker.processes[0].wait(30) in (0, 10)
    worker.start("worker", JOBLOG_JOIN_TOKEN=leader.token("writer"))
    until(lambda: leader.call("logs", "r/late", check=False).stdout == b"late\n", "the log has come")


def test_a_certificate_that_is_revoked_ends_the_live_stream(hosts: tuple[Host, Host]) -> None:
    leader, worker = hosts
    leader.start_leader()
    worker.start("worker", JOBLOG_JOIN_TOKEN=leader.token("writer"))
    until(lambda: connected(leader), "the worker is connected")
    first = serial(worker)
    leader.call("certificates", "revoke", format(first, "x"))
    until(lambda: "was revoked" in worker.said(), "the worker is told", 5)
    # Its token is good still.
    until(lambda: serial(worker) != first and connected(leader), "it has joined anew")


def test_a_token_with_another_fingerprint_sends_nothing(hosts: tuple[Host, Host]) -> None:
    leader, worker = hosts
    leader.start_leader()
    good = Token.parse(leader.token("writer"))
    bad = Token(good.id, good.secret, bytes(32), good.address).text
    worker.start("worker", JOBLOG_JOIN_TOKEN=bad)
    until(lambda: "is not the leader that is trusted here" in worker.said(), "the worker says so")
    assert certificates(leader) == []
    refused = worker.call("ls", check=False, JOBLOG_TOKEN=bad)
    assert refused.returncode == 5 and b"somebody in between" in refused.stderr


def test_a_leader_that_comes_back_on_other_ports_is_found(hosts: tuple[Host, Host]) -> None:
    leader, worker = hosts
    before = leader.start_leader()
    port = before.grpc_address.rpartition(":")[2]
    worker.start("worker", JOBLOG_JOIN_TOKEN=leader.token("writer"), JOBLOG_SHIP_BACKOFF_MAX_SECONDS="0.2")
    until(lambda: connected(leader), "the worker is connected")
    leader.processes[0].terminate()
    assert leader.processes[0].wait(30) == 0
    leader.start("leader", "--grpc-listen", f"127.0.0.1:{port}", "--http-listen", "", "--workers-listen", "127.0.0.1:0")
    until(lambda: leader.leader() is not None, "the leader is back")
    after = leader.leader()
    assert after is not None and after.workers_address != before.workers_address
    until(lambda: connected(leader), "the worker is back")


def test_own_certificates_are_read_again_while_a_tail_runs(hosts: tuple[Host, Host], tmp_path: Path) -> None:
    leader, worker = hosts
    theirs = Authority.open(tmp_path)
    chain, key, ca = (tmp_path / name for name in ("own.pem", "own.key", "own-ca.pem"))

    def put(pair: Pair) -> None:
        for path, content in ((key, pair.key), (chain, pair.chain)):
            fresh = path.with_suffix(".new")
            fresh.write_bytes(content)
            fresh.chmod(0o600)
            fresh.replace(path)

    put(theirs.server_pair(["logs.example", "127.0.0.1"], 3600))
    ca.write_bytes(theirs.pem)
    own = {"JOBLOG_TLS_CERTIFICATE": str(chain), "JOBLOG_TLS_KEY": str(key), "JOBLOG_TLS_CA": str(ca)}
    there = leader.start_leader(**own)
    token = leader.token("writer")
    assert Token.parse(token).fingerprint == theirs.fingerprint
    worker.start("worker", JOBLOG_JOIN_TOKEN=token)
    stop = worker.folder / "stop"
    script = "echo one; while [ ! -e $STOP ]; do sleep 0.1; done; echo two"
    task = worker.start(*RUN, "--task", "t", "--", "sh", "-c", script, STOP=str(stop))
    trust = Trust(ca=theirs.pem, token=own_token(leader.data_dir))

    def shown(url: str) -> int:
        return _shown_chain(url.rpartition("/")[2])[0].serial_number

    until(lambda: b"one" in leader.call("logs", "r/t", check=False).stdout, "the log is there")
    with Client(leader=KnownLeader(there.grpc_address, trust)) as client:
        parts = client.read(LogName("default", "r", "t", 1), follow=True)
        assert next(parts).data == b"one\n"
        pair = theirs.server_pair(["logs.example", "127.0.0.1"], 3600)
        chain.write_bytes(b"half of a certif")
        until(lambda: "the old certificate stays in force" in leader.said(), "the leader warns")
        put(pair)
        expected = x509.load_pem_x509_certificate(pair.chain).serial_number
        for url in (there.http_url, there.grpc_address):
            until(lambda url=url: shown(url) == expected, f"{url} shows the new certificate")  # type: ignore[misc]
        stop.touch()
        assert b"".join(part.data for part in parts) == b"two\n"
    assert task.wait(30) == 0
    assert leader.call("whoami").returncode == 0
