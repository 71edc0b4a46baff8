"""Backups of a running leader: by schedule while logs come in, over HTTP, and restored by the command line."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from joblog.address import own_token
from tests.e2e.machine import Machine, until


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    folder = tmp_path_factory.mktemp("backups")
    made = Machine(folder / "data")
    made.environment["JOBLOG_BACKUP_URL"] = f"file://{folder}/target"
    made.environment["JOBLOG_KEYS_FILE"] = str(folder / "kek.key")
    made.environment["JOBLOG_BACKUP_SCHEDULE"] = "1s"
    made.environment["JOBLOG_BACKUP_VERIFY_SCHEDULE"] = "2s"
    made.environment["JOBLOG_BACKUP_KEEP_LAST"] = "2"
    try:
        made.start_up()
        yield made
    finally:
        made.close()


def http(machine: Machine, method: str, path: str, body: object = None) -> tuple[int, Any]:
    """(status, JSON) of a request by the leader's own user."""
    said = json.loads((machine.data_dir / "leader/leader.json").read_text())
    trusted = ssl.create_default_context(cadata=said["ca"])
    request = urllib.request.Request(f"{said['http_url'].rstrip('/')}/api/v1{path}", method=method)
    request.add_header("Authorization", f"Bearer {own_token(machine.data_dir)}")
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=30, context=trusted) as reply:
            return reply.status, json.loads(reply.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def job(machine: Machine) -> dict[str, Any]:
    """The last job, once it has ended."""

    def ended() -> Any:
        found = http(machine, "GET", "/backups")[1]["job"]
        return found if found and found["finished_at"] else None

    found: dict[str, Any] = until(ended, "the job has ended")
    return found


def test_a_schedule_makes_verifies_and_prunes_under_load(machine: Machine) -> None:
    seen: set[str] = set()
    pruned = verified = False
    rounds = 0
    while len(seen) < 4 or not pruned or not verified:
        rounds += 1
        machine.run(f"load-{rounds}/t", f"seq {rounds} 20000")
        listed = http(machine, "GET", "/backups")[1]
        now = {backup["id"] for backup in listed["backups"]}
        assert [backup["id"] for backup in listed["backups"]] == sorted(now, reverse=True)
        assert all(backup["reason"] == "schedule" for backup in listed["backups"])
        pruned = pruned or bool(seen - now)
        verified = verified or any(backup["verified"] for backup in listed["backups"])
        assert all(not backup["verified"]["problems"] for backup in listed["backups"] if backup["verified"])
        seen |= now
        assert rounds < 60, (seen, listed)
    assert http(machine, "GET", "/status")[1]["warnings"] == []


@dataclass(frozen=True)
class Kept:
    """A run, and a backup that has it. link: its log over HTTP. before: what that said before the backup."""

    backup: str
    link: str
    before: dict[str, Any]


@pytest.fixture(scope="module")
def kept(machine: Machine) -> Kept:
    """The leader goes on without a schedule, and backs a run up when it is asked to."""
    for name in ("SCHEDULE", "VERIFY_SCHEDULE", "KEEP_LAST"):
        del machine.environment[f"JOBLOG_BACKUP_{name}"]
    machine.start_up()
    machine.run("precious/t", "seq 1 5000")
    link = "/namespaces/default/runs/precious/tasks/t/attempts/1"
    before = http(machine, "GET", link)[1]
    status, begun = http(machine, "POST", "/backups")
    assert (status, begun["kind"], begun["finished_at"]) == (202, "backup", None)
    done = job(machine)
    assert not done["error"] and done["backup_id"]
    return Kept(done["backup_id"], link, before)


def audited(machine: Machine) -> set[str]:
    """The acts that were audited lately."""
    return {line["action"] for line in http(machine, "GET", "/audit?limit=200")[1]["lines"]}


def test_backups_are_shown_verified_and_pruned_over_http(machine: Machine, kept: Kept) -> None:
    backup = kept.backup
    status, shown = http(machine, "GET", "/backups/latest")
    assert (status, shown["backup"]["id"], shown["missing"]) == (200, backup, 0)
    assert shown["objects"] and any(file["path"] == "store/CURRENT" for file in shown["files"])
    assert http(machine, "POST", f"/backups/{backup}/verify", {"restore": True})[0] == 202
    checked = job(machine)
    assert (checked["kind"], checked["problems"], checked["error"]) == ("verify", [], "") and checked["logs"] >= 1
    assert http(machine, "GET", "/backups/nothing")[0] == 400
    assert http(machine, "GET", "/backups/20200101T000000000Z-00000000")[0] == 404
    assert http(machine, "POST", "/backups/prune", {})[0] == 409
    dry = http(machine, "POST", "/backups/prune", {"keep": {"last": 1}, "dry_run": True})[1]
    assert [one["id"] for one in dry["kept"]] == [backup]
    assert {"backup.create", "backup.verify", "backup.prune"} <= audited(machine)


def test_one_run_comes_back_as_it_was(machine: Machine, kept: Kept) -> None:
    machine.call("delete", "precious", "--yes")
    assert http(machine, "GET", kept.link)[0] == 404
    other = {"runs": [{"namespace": "default", "run": "no"}]}
    assert http(machine, "POST", f"/backups/{kept.backup}/restore", other)[0] == 202
    assert "holds no run default:no" in job(machine)["error"]
    taken = machine.call("restore", kept.backup, "--run", "precious")
    assert b"logs were taken" in taken.stdout
    after = http(machine, "GET", kept.link)[1]
    for field in ("seal", "outcome", "start", "created_at", "completed_at"):
        assert after[field] == kept.before[field], field
    assert machine.call("logs", "--raw", "precious/t").stdout == b"".join(b"%d\n" % n for n in range(1, 5001))
    assert "backup.restore" in audited(machine)
    refused = machine.call("restore", "latest", check=False)
    assert refused.returncode == 4 and b"stop it first" in refused.stderr


# Eight commands, each a process that imports all; and the leader does not come back.
@pytest.mark.timeout(240)
def test_all_of_it_goes_elsewhere_with_another_kms(machine: Machine, kept: Kept, tmp_path: Path) -> None:
    # Backups of before are restored with the new one alone.
    machine.environment["JOBLOG_KEYS_PASSPHRASE"] = "correct horse battery staple"
    moved = machine.call("keys", "rewrap", "--to", "passphrase")
    assert b"are wrapped by KMS passphrase" in moved.stdout
    machine.stop_up()
    os.rename(machine.environment["JOBLOG_KEYS_FILE"], tmp_path / "gone.key")
    del machine.environment["JOBLOG_KEYS_FILE"]
    wrong = machine.call("restore", kept.backup, "--to", str(tmp_path / "elsewhere"), check=False)
    assert wrong.returncode in (3, 5) and b"need KMS 'passphrase'" in wrong.stderr, wrong.stderr
    assert not (tmp_path / "elsewhere/leader/store").exists()
    machine.environment["JOBLOG_KEYS_KIND"] = "passphrase"
    machine.call("restore", kept.backup, "--to", str(tmp_path / "elsewhere"))
    other = Machine(tmp_path / "elsewhere")
    other.environment.update(machine.environment | {"JOBLOG_DATA_DIR": str(other.data_dir)})
    try:
        other.start_up()
        text = other.call("logs", "--raw", "precious/t").stdout
        assert hashlib.sha256(text).hexdigest() == kept.before["seal"]["sha256"]
        # The leader of before may not go on.
        again = machine.start("leader", "--listen", "127.0.0.1:0")
        _, said = again.communicate(timeout=40)
        assert again.returncode == 4 and b"was restored from a backup" in said
        late = machine.call("backup", "create", check=False)
        assert late.returncode == 4 and b"was restored from a backup" in late.stderr
    finally:
        other.close()
    shutil.rmtree(tmp_path / "elsewhere")
