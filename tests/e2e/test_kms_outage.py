"""A KMS that can't be reached: what is open goes on, a start waits, nothing is lost. Real processes, a real server."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from joblog.address import read_leader_file
from joblog.v1 import types_pb2
from tests.e2e.looking import is_up, record_of, text_of
from tests.e2e.machine import Machine, until
from tests.kms_places import vault_options
from tests.vault_server import VaultServer


@pytest.fixture
def machine(data_dir: Path) -> Iterator[Machine]:
    made = Machine(data_dir)
    yield made
    made.close()


def use_vault(machine: Machine, vault: VaultServer, name: str) -> None:
    options = vault_options(vault, name)
    machine.environment |= {
        "JOBLOG_KEYS_KIND": "vault",
        "JOBLOG_KEYS_VAULT_ADDRESS": vault.url,
        "JOBLOG_KEYS_VAULT_KEY": options.key,
        "JOBLOG_KEYS_VAULT_TOKEN": "root-token",
    }


def start_leader(machine: Machine, listen: str) -> int:
    return machine.start("leader", "--grpc-listen", listen, "--http-listen", "").pid


def test_an_outage_loses_nothing_and_ends_by_itself(machine: Machine, vault: VaultServer, tmp_path: Path) -> None:
    use_vault(machine, vault, "outage")
    pid = start_leader(machine, "127.0.0.1:0")
    until(lambda: is_up(machine), "the leader is up")
    machine.start("worker")
    go, on = tmp_path / "go", tmp_path / "on"
    script = (
        f"echo one; until [ -e {go} ]; do sleep 0.02; done; echo two; until [ -e {on} ]; do sleep 0.02; done; echo 3"
    )
    task = machine.start("run", "--quiet", "--run", "r", "--task", "t", "--", "sh", "-c", script)
    until(lambda: text_of(machine, "r/t") == b"one\n", "the first line is there")

    vault.sealed = True
    asked = len(vault.requests)
    go.touch()
    until(lambda: text_of(machine, "r/t") == b"one\ntwo\n", "what is open goes on")
    machine.call("run", "--quiet", "--run", "r", "--task", "new", "--", "echo", "new")
    assert text_of(machine, "r/new") == b"new\n"
    assert len(vault.requests) == asked, "the KMS is not asked for what is open"
    refused = machine.call("keys", "rotate", check=False)
    assert refused.returncode == 9, refused.stderr
    assert b"sealed" in refused.stderr

    os.kill(pid, signal.SIGKILL)
    again = start_leader(machine, "127.0.0.1:0")
    note = machine.data_dir / "leader" / "leader.json"
    until(lambda: b"waiting for it" in note.read_bytes(), "the leader says what it waits for")
    assert "waiting for it" in machine.status()["leader"]["error"]
    done = machine.call("logs", "r/t", check=False)
    assert done.returncode == 9
    assert b"KMS can't be reached" in done.stderr
    on.touch()
    assert task.wait(30) == 0

    vault.sealed = False
    until(lambda: is_up(machine), "the leader goes on by itself")
    assert read_leader_file(machine.data_dir).pid == again
    until(lambda: record_of(machine, "r/t").state == types_pb2.LOG_STATE_COMPLETED, "the spool was shipped")
    assert text_of(machine, "r/t") == b"one\ntwo\n3\n"


def test_what_no_waiting_heals_ends_the_leader(machine: Machine, vault: VaultServer) -> None:
    use_vault(machine, vault, "final")
    vault.tokens.clear()
    done = machine.call("leader", "--grpc-listen", "127.0.0.1:0", "--http-listen", "", check=False)
    assert done.returncode == 5, done.stderr
    assert b"permission denied" in done.stderr or b"refused" in done.stderr


def test_moving_to_a_service_whose_secrets_the_leader_was_not_given(machine: Machine, vault: VaultServer) -> None:
    pid = start_leader(machine, "127.0.0.1:0")
    until(lambda: is_up(machine), "the leader is up")
    machine.call("run", "--quiet", "--run", "r", "--task", "t", "--", "echo", "text")
    before = dict(machine.environment)
    use_vault(machine, vault, "moved")
    machine.call("keys", "rewrap", "--to", "vault")
    (machine.data_dir / "leader" / "kek.key").unlink()
    assert machine.json("keys", "status")["kms"] == "vault"
    os.kill(pid, signal.SIGKILL)

    # Without the token the old settings are not enough, and the leader says what is.
    settings, machine.environment = machine.environment, before
    done = machine.call("leader", "--grpc-listen", "127.0.0.1:0", check=False)
    assert done.returncode in (2, 5), done.stderr
    assert b"keys.kind = 'vault'" in done.stderr
    assert vault.url.encode() in done.stderr
    assert b"root-token" not in done.stderr
    # With it they are, and it warns.
    machine.environment = {**before, "JOBLOG_KEYS_VAULT_TOKEN": "root-token"}
    start_leader(machine, "127.0.0.1:0")
    until(lambda: is_up(machine), "the leader is up")
    assert any("keys.kind = 'vault'" in warning for warning in machine.status()["leader"]["warnings"])
    machine.environment = settings
    assert text_of(machine, "r/t") == b"text\n"
