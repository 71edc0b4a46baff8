"""A life with everything in it, by real processes; all that they left is looked through for what is secret."""

from __future__ import annotations

import base64
import json
import os
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from joblog.leader.buffer.store import Store
from joblog.leader.crypto.keyring import Keyring, store_key_id
from joblog.leader.crypto.passphrase_kms import PassphraseKms
from tests.e2e.machine import Machine, kill, until
from tests.e2e.two_machines import Host

# In every line that the tasks print, and in what compresses to nothing.
TEXT = f"text-of-a-task-{secrets.token_hex(6)}"
MASKED = f"masked-{secrets.token_hex(6)}"
PASSPHRASE = f"passphrase of the KEK {secrets.token_hex(6)}"
SCRIPT = f"""
for i in 1 2 3; do echo {TEXT[:5]}$1 $MASKED_VALUE line $i; done
echo {TEXT[:5]}$1 >&2
if [ -n "$2" ]; then echo ready > "$2"; while [ ! -e "$2.go" ]; do sleep 0.05; done; fi
yes {TEXT[:5]}$1 | head -n 2000
"""


def encodings(secret: bytes) -> Iterator[bytes]:
    """As it may have been written by mistake."""
    yield secret
    yield secret.hex().encode()
    yield base64.b64encode(secret)[:-4]
    yield base64.urlsafe_b64encode(secret)[:-4]
    yield json.dumps(secret.decode("latin-1"))[1:-1].encode()


def files_below(*folders: Path) -> Iterator[Path]:
    for folder in folders:
        yield from (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


class Life:
    """A leader with a passphrase, an archive and debug messages; a worker elsewhere that joined with a token."""

    def __init__(self, folder: Path) -> None:
        self.archive = folder / "archive"
        self.leader_host, self.worker_host = Host(folder / "1", "127.0.0.1"), Host(folder / "2", "127.0.0.1")
        common = {"JOBLOG_LOG_LEVEL": "debug", "GRPC_VERBOSITY": "DEBUG", "JOBLOG_SPOOL_ENCRYPTION": "on"}
        for host in (self.leader_host, self.worker_host):
            host.environment |= common
        self.settings = {
            "JOBLOG_KEYS_KIND": "passphrase",
            "JOBLOG_KEYS_PASSPHRASE": PASSPHRASE,
            "JOBLOG_ARCHIVE_URL": f"file://{self.archive}",
            "JOBLOG_ARCHIVE_FLUSH_INTERVAL_SECONDS": "1",
        }
        self.tokens: list[str] = []
        self.listen = "0"

    def start_leader(self) -> None:
        leader = self.leader_host.start_leader(listen=self.listen, **self.settings)
        self.listen = leader.grpc_address.rpartition(":")[2]

    def token(self, role: str) -> str:
        text = self.leader_host.token(role)
        self.tokens.append(text)
        return text

    def run(self, task: str, *arguments: str) -> None:
        """A task, to its end; what it prints is put together from parts, so that no argument has it."""
        flags = ["--run", "r", "--task", task, "--quiet", "--mask-env", "MASKED_VALUE"]
        self.worker_host.call("run", *flags, "--", "sh", "-c", SCRIPT, "sh", TEXT[5:], *arguments, MASKED_VALUE=MASKED)

    def stat(self, task: str) -> dict[str, object]:
        done = self.leader_host.call("stat", f"r/{task}", "--json", check=False)
        found: dict[str, object] = json.loads(done.stdout)["log"] if done.returncode == 0 else {}
        return found

    def close(self) -> None:
        self.worker_host.close()
        self.leader_host.close()


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    made = Life(tmp_path)
    yield made
    made.close()


def secret_keys(data: Path) -> dict[str, bytes]:
    """Every key of the store in clear, from the store and the passphrase."""
    store = Store.open(data / "leader" / "store")
    try:
        keyring = Keyring.open(store, PassphraseKms(PASSPHRASE), store.store_id)
        found = {}
        for run in store.list_runs("default")[0]:
            for log in store.list_logs("default", run.run, limit=100)[0]:
                wrapped = store.get_dek(log.number)
                assert wrapped is not None
                found[f"DEK of {log.id.task}"] = keyring.open_dek(log.uid, wrapped)
                key = keyring.describe(wrapped).key
                found[f"store key {store_key_id(wrapped).hex()}"] = key.unwrap(PassphraseKms(PASSPHRASE))
        return found
    finally:
        store.close()


def test_a_life_leaves_nothing_in_clear(life: Life, tmp_path: Path) -> None:
    life.start_leader()
    join, reader = life.token("writer"), life.token("reader")
    token_file = tmp_path / "token"
    token_file.write_text(join)
    token_file.chmod(0o600)
    life.worker_host.start("worker", "--join-file", str(token_file))
    until(lambda: (life.worker_host.data_dir / "worker" / "worker.sock").exists(), "the worker is ready")
    life.run("first")
    life.leader_host.call("keys", "rotate")
    # A crash of leader and worker while a task runs, and what it wrote is on the worker's disk.
    ready = tmp_path / "ready"
    running = life.worker_host.start(
        "run", "--run", "r", "--task", "second", "--quiet", "--mask-env", "MASKED_VALUE", "--",
        "sh", "-c", SCRIPT, "sh", TEXT[5:], str(ready), MASKED_VALUE=MASKED,
    )  # fmt: skip
    until(ready.exists, "the second task has printed")
    look_at_processes(life)
    kill(life.leader_host.processes[0].pid)
    kill(life.worker_host.processes[0].pid)
    look_through(life, {})
    life.start_leader()
    life.worker_host.start("worker")
    Path(f"{ready}.go").touch()
    running.wait(40)
    life.run("third")
    for task in ("first", "second", "third"):
        until(lambda task=task: life.stat(task).get("tier") == "archive", f"{task} is archived")  # type: ignore[misc]
    read = life.worker_host.call("logs", "r/first", JOBLOG_TOKEN=reader).stdout.decode()
    assert read.count(TEXT) == 2004 and MASKED not in read
    life.worker_host.call("logs", "r/first", JOBLOG_TOKEN=reader[:-9] + "x", check=False)
    for process in (life.worker_host.processes[-1], life.leader_host.processes[-1]):
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    keys = secret_keys(life.leader_host.data_dir)
    assert len([name for name in keys if name.startswith("store")]) == 2
    look_through(life, keys)


def look_at_processes(life: Life) -> None:
    """No process of ours shows a secret in its arguments; none but the leader has its passphrase, none a token."""
    hidden = [PASSPHRASE, MASKED, *(token.split(".")[2] for token in life.tokens)]
    seen = 0
    for folder in Path("/proc").iterdir():
        try:
            arguments, environment = (folder / "cmdline").read_bytes(), (folder / "environ").read_bytes()
        except (OSError, NotADirectoryError):
            continue
        if str(life.worker_host.folder).encode() not in environment + arguments:
            continue
        seen += 1
        for secret in hidden:
            assert secret.encode() not in arguments, arguments
            if secret != MASKED:
                assert secret.encode() not in environment, (arguments, secret)
        assert TEXT.encode() not in arguments + environment
    assert seen >= 3


def look_through(life: Life, keys: dict[str, bytes]) -> None:
    """All files of leader, archive and worker, and what they said."""
    own = {"admin.token", "join.json"}
    texts = {TEXT: TEXT.encode(), MASKED: MASKED.encode(), PASSPHRASE: PASSPHRASE.encode()}
    tokens = {f"token {n}": token.split(".")[2].encode() for n, token in enumerate(life.tokens)}
    places = (life.leader_host.folder, life.worker_host.folder, life.archive)
    looked = 0
    for path in files_below(*places):
        content = path.read_bytes()
        looked += len(content)
        if path.name in own:
            assert path.stat().st_mode & 0o077 == 0
        wanted = texts | keys | ({} if path.name in own else tokens)
        for name, secret in wanted.items():
            for form in encodings(secret):
                assert form not in content, (name, path, content[max(0, content.find(form) - 60) :][:200])
    assert looked > 10_000


def test_the_look_finds_what_is_there(tmp_path: Path) -> None:
    """What is looked for would be found: in clear, in hexadecimal digits, in base64, escaped."""
    # With bytes for which the two alphabets of base64 differ.
    secret = b"\xfb\xef\xbe\xff" + os.urandom(28)
    for form in encodings(secret):
        assert any(one in b"before" + form + b"after" for one in encodings(secret))
    assert len({*encodings(secret)}) == 5
    assert Machine(tmp_path / "d").status()["leader"]["running"] is False
