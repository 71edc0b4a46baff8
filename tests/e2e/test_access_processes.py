"""Real processes: what a reader of one namespace, and a writer, get to see of another, by any command or address."""

from __future__ import annotations

import json
import os
import re
import ssl
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.machine import DEADLINE_SECONDS, JOBLOG, Machine, until

# What must never be seen by those who have nothing to do with it: names and bytes.
HIDDEN = ("team-b", "hidden-run", "hidden-task", "hidden words")
SHOWN_WORDS = "shown words"


class Elsewhere:
    """A user on another machine, who has nothing but a token."""

    def __init__(self, machine: Machine, home: Path, *create: str) -> None:
        done = machine.call("token", "create", *create)
        self.token = done.stdout.decode().strip()
        self.token_id = self.token.split(".")[1]
        assert done.stdout.decode() == self.token + "\n"
        assert self.token.split(".")[2].encode() not in done.stderr
        kept = {name: value for name, value in os.environ.items() if not name.startswith("JOBLOG_")}
        self.environment = {**kept, "JOBLOG_DATA_DIR": str(home / self.token_id), "JOBLOG_TOKEN": self.token}

    def call(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*JOBLOG, *arguments],
            env=self.environment,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=DEADLINE_SECONDS,
            check=False,
        )

    def get(self, machine: Machine, path: str, method: str = "GET") -> tuple[int, str]:
        folder = machine.data_dir / "leader"
        said = json.loads((folder / "leader.json").read_text())
        trust = ssl.create_default_context(cafile=str(folder / "access" / "ca.pem"))
        request = urllib.request.Request(said["http_url"] + path, method=method)
        request.add_header("Authorization", f"Bearer {self.token}")
        try:
            with urllib.request.urlopen(request, context=trust, timeout=DEADLINE_SECONDS) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="joblog.") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def machine(home: Path) -> Iterator[Machine]:
    made = Machine(home / "d")
    made.start_up()
    for namespace, run, task, words in (
        ("team-a", "shown-run", "shown-task", SHOWN_WORDS),
        ("team-b", "hidden-run", "hidden-task", "hidden words"),
    ):
        made.call("run", "--quiet", "-n", namespace, "--run", run, "--task", task, "--", "echo", words)
        until(lambda: completed(made, namespace, f"{run}/{task}"), f"{run} is completed")  # noqa: B023
    yield made
    made.close()


def completed(machine: Machine, namespace: str, path: str) -> bool:
    done = machine.call("stat", "-n", namespace, path, "--json", check=False)
    return done.returncode == 0 and json.loads(done.stdout)["log"]["state"] == "completed"


@pytest.fixture(scope="module")
def reader(machine: Machine, home: Path) -> Elsewhere:
    return Elsewhere(machine, home, "--role", "reader", "-n", "team-a")


def hides(*texts: str | bytes, asked: tuple[str, ...] = ()) -> None:
    """What was asked for may be named in an answer; nothing else that is hidden may."""
    for text in texts:
        shown = text.decode(errors="replace") if isinstance(text, bytes) else text
        for word in HIDDEN:
            assert word in asked or word not in shown, shown


def test_a_reader_sees_its_own_namespace(machine: Machine, reader: Elsewhere) -> None:
    assert SHOWN_WORDS in reader.call("logs", "-n", "team-a", "shown-run/shown-task").stdout.decode()
    assert reader.call("verify", "-n", "team-a", "shown-run/shown-task").returncode == 0
    status, body = reader.get(machine, "/api/v1/namespaces/team-a/runs/shown-run/tasks/shown-task/attempts/1/raw")
    assert (status, body) == (200, f"{SHOWN_WORDS}\n")


def test_no_command_shows_it_anything_of_another(machine: Machine, reader: Elsewhere) -> None:
    for command in (["status"], ["whoami"], ["ls", "-n", "team-a"], ["search", "-n", "team-a", "hidden"]):
        done = reader.call(*command)
        hides(done.stdout, done.stderr)
    answers = set()
    for command in (
        ["ls", "-n", "team-b"],
        ["ls", "-n", "team-b", "hidden-run"],
        ["ls", "-n", "team-b", "absent-run"],
        ["stat", "-n", "team-b", "hidden-run/hidden-task"],
        ["stat", "-n", "team-b", "absent-run/absent-task"],
        ["logs", "-n", "team-b", "hidden-run/hidden-task/1"],
        ["logs", "-f", "-n", "team-b", "absent-run/absent-task/1"],
        ["verify", "-n", "team-b", "hidden-run/hidden-task"],
        ["search", "-n", "team-b", "words"],
        ["delete", "--yes", "-n", "team-b", "hidden-run"],
    ):
        done = reader.call(*command)
        assert done.returncode == 5, (command, done.stderr)
        assert not done.stdout
        hides(done.stderr, asked=("team-b",))
        answers.add(re.sub(rb"permission [a-z.]+", b"permission", done.stderr))
    assert len(answers) == 1, answers
    for command in (["token", "ls"], ["certificates", "ls"], ["keys", "status"], ["token", "create", "--role=viewer"]):
        done = reader.call(*command)
        assert done.returncode == 5, (command, done.stdout)
        hides(done.stdout, done.stderr)


def test_nor_does_http(machine: Machine, reader: Elsewhere) -> None:
    for path in ("/api/v1/namespaces", "/api/v1/status", "/api/v1/whoami", "/metrics", "/api/v1/tokens", "/readyz"):
        _, body = reader.get(machine, path)
        hides(body)
    attempt = "/runs/{run}/tasks/hidden-task/attempts/1"
    parts = ("", "/events", "/verify", "/bytes", "/lines", "/raw", "/search?q=words", "/marks")
    lists = ("/runs", "/runs/{run}", "/runs/{run}/logs", "/search?q=words", "/runs/{run}/search?q=words")
    for ending in (*lists, *(attempt + part for part in parts)):
        answers = {
            reader.get(machine, "/api/v1/namespaces/team-b" + ending.format(run=run))
            for run in ("hidden-run", "absent-run")
        }
        assert len(answers) == 1, answers
        status, body = answers.pop()
        assert status == 403, (ending, body)
        hides(body, asked=("team-b",))
    assert reader.get(machine, "/api/v1/namespaces/team-b/runs/hidden-run", "DELETE")[0] == 403


def test_a_writer_reads_nothing_not_even_where_it_writes(machine: Machine, home: Path) -> None:
    writer = Elsewhere(machine, home, "--role", "writer", "-n", "team-a")
    for command in (
        ["ls", "-n", "team-a"],
        ["logs", "-n", "team-a", "shown-run/shown-task"],
        ["verify", "-n", "team-a", "shown-run/shown-task"],
        ["search", "-n", "team-a", "words"],
        ["status"],
    ):
        done = writer.call(*command)
        assert b"shown words" not in done.stdout + done.stderr
        assert b"shown-run" not in done.stdout
        assert done.returncode != 0 or command == ["status"], command
    assert writer.get(machine, "/api/v1/namespaces")[0] == 403


def test_a_revoked_token_ends_what_follows_with_it(machine: Machine, home: Path) -> None:
    follower = Elsewhere(machine, home, "--role", "reader", "-n", "live", "--name", "follower")
    task = machine.start("run", "--quiet", "-n", "live", "--run=r", "--task=t", "--", "sh", "-c", "echo on; sleep 60")
    until(lambda: machine.call("stat", "-n", "live", "r/t", check=False).returncode == 0, "the log is there")
    tail = subprocess.Popen(
        [*JOBLOG, "logs", "-f", "-n", "live", "r/t"],
        env=follower.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert tail.stdout is not None
        assert tail.stdout.readline() == b"on\n"
        listed = machine.json("token", "ls")
        assert "follower" in {token["name"] for token in listed}
        machine.call("token", "revoke", follower.token_id)
        _, said = tail.communicate(timeout=DEADLINE_SECONDS)
        assert tail.returncode == 5, said
        assert b"revoked" in said
        assert "follower" not in {token["name"] for token in machine.json("token", "ls")}
    finally:
        tail.kill()
        tail.wait()
        task.terminate()


def test_a_lost_admin_token_is_made_anew_while_the_leader_runs(machine: Machine, home: Path) -> None:
    file = machine.data_dir / "leader" / "access" / "admin.token"
    lost = file.read_text()
    file.unlink()
    assert machine.call("token", "ls", check=False).returncode == 5
    machine.call("token", "recover-admin")
    assert machine.call("token", "ls").returncode == 0
    old = {**machine.environment, "JOBLOG_TOKEN": lost.strip()}

    def is_refused() -> bool:
        done = subprocess.run([*JOBLOG, "token", "ls"], env=old, capture_output=True, check=False)
        return done.returncode == 5 and b"revoked" in done.stderr

    until(is_refused, "the lost one is refused")
