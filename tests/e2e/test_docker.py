"""Docker's containers on one host: each run of each is a log, whole, under its name, with how it ended."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from joblog.client import Client
from joblog.death import last_death
from joblog.errors import JoblogError
from joblog.identity import LogName
from joblog.v1 import logs_pb2, types_pb2
from tests.docker_writer import DockerFiles
from tests.e2e.machine import until
from tests.fault.node import Node, node

COMPLETED = types_pb2.LOG_STATE_COMPLETED


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("docker-host")
    (folder / "containers").mkdir()
    with node(
        folder,
        JOBLOG_KUBERNETES_ENABLED="false",
        JOBLOG_DOCKER_ENABLED="true",
        JOBLOG_DOCKER_CONTAINERS_DIR=str(folder / "containers"),
        JOBLOG_DOCKER_NAMESPACE="host",
        JOBLOG_DOCKER_MAY_CHOOSE="team-*",
        JOBLOG_DOCKER_EXCLUDE="*-sidecar",
        JOBLOG_DOCKER_COPY_LABELS="stage",
    ) as made:
        made.start()
        until(lambda: made.collects(1), "the worker collects")
        yield made


def container(host: Node, name: str, **more: object) -> DockerFiles:
    return DockerFiles(host.pods.parent / "containers", name, **more)  # type: ignore[arg-type]


def record(host: Node, name: LogName) -> logs_pb2.GetLogResponse | None:
    try:
        with Client(data_dir=host.cluster.leader_dir) as client:
            return client.log(name)
    except JoblogError:
        return None


def completed(host: Node, name: LogName) -> logs_pb2.GetLogResponse:
    def look() -> logs_pb2.GetLogResponse | None:
        found = record(host, name)
        return found if found is not None and found.log.state == COMPLETED else None

    found = until(look, f"{name} is completed")
    assert isinstance(found, logs_pb2.GetLogResponse)
    return found


def has_all(host: Node, files: DockerFiles) -> bool:
    found = record(host, LogName("host", files.name, files.name, len(files.runs)))
    return found is not None and found.log.next_offset == len(files.run.printed)


def losses(found: logs_pb2.GetLogResponse) -> set[str]:
    return {event.kind for event in found.events} & {"lost_lines", "start_missing", "odd_lines", "late_lines"}


def test_a_containers_log_is_whole_and_says_how_it_ended(host: Node) -> None:
    files = container(host, "web", labels={"stage": "test\n", "other": "x"}, memory_bytes=64 << 20)
    files.start(first=b"before dockerd says that it runs\n")
    files.print('§ <b>&\u2028</b> \t\x00"\\\n'.encode(), 1)
    files.print(b"to stderr\n", 2)
    files.print(b"x" * 40_000 + b"\n")
    files.print(b"no newline")
    files.exit(137, oom_killed=True)
    name = LogName("host", "web", "web", 1)
    found = completed(host, name)
    assert host.content(name) == files.run.printed
    assert host.content(name, 2) == b"to stderr\n"
    outcome, labels = found.log.outcome, found.log.start.labels
    assert (outcome.exit_code, outcome.signal, outcome.oom_killed) == (137, 9, True)
    assert outcome.started_ns < outcome.ended_ns
    assert labels == {
        "docker.id": files.id,
        "docker.name": "web",
        "docker.image": "busybox:latest",
        "docker.restart": "0",
        "docker.memory_limit_bytes": str(64 << 20),
        "stage": "test?",
    }
    assert "hunter2" not in str(found)
    assert not losses(found)
    death = last_death(found.events)
    assert death is not None
    assert (death[1].reason, death[1].container, death[1].memory_limit_bytes) == ("oom_killed", "web", 64 << 20)


def test_each_run_of_a_container_is_an_attempt_however_fast_it_is_started_again(host: Node) -> None:
    files = container(host, "crash-loop")
    files.start(first=b"run 0\n")
    for number in range(1, 6):
        present = LogName("host", "crash-loop", "crash-loop", number)
        until(lambda name=present: record(host, name), f"{present} is followed")  # type: ignore[misc]
        files.print(b"some more\n" * number)
        files.exit(number, restarts=True)
        files.start(by_policy=True, first=b"run %d\n" % number)
    files.exit(0)
    for number, run in enumerate(files.runs):
        name = LogName("host", "crash-loop", "crash-loop", number + 1)
        found = completed(host, name)
        assert host.content(name) == run.printed, number
        assert found.log.outcome.exit_code == run.exit_code
        assert found.log.start.labels["docker.restart"] == str(number)
        assert not losses(found)


def test_one_that_is_started_again_by_hand_or_made_anew_is_another_attempt(host: Node) -> None:
    first = container(host, "batch", seed=1)
    first.start(first=b"one\n")
    first.exit(3)
    assert completed(host, LogName("host", "batch", "batch", 1)).log.outcome.exit_code == 3
    first.start(first=b"two\n")
    first.exit(0)
    completed(host, LogName("host", "batch", "batch", 2))
    second = container(host, "batch", seed=2)
    second.start(first=b"three")
    third = LogName("host", "batch", "batch", 3)
    until(lambda: record(host, third), "it is followed")
    second.print(b" and its last words\n")
    second.exit(4)
    second.remove()
    completed(host, third)
    contents = [host.content(LogName("host", "batch", "batch", attempt)) for attempt in (1, 2, 3)]
    assert contents == [b"one\n", b"two\n", b"three and its last words\n"]


def test_names_come_from_compose_and_from_labels(host: Node) -> None:
    compose = {"com.docker.compose.project": "shop", "com.docker.compose.service": "db"}
    number = "com.docker.compose.container-number"
    cases = [
        ("shop-db-1", {**compose, number: "1"}, LogName("host", "shop", "db", 1)),
        ("shop-db-2", {**compose, number: "2"}, LogName("host", "shop", "db-2", 1)),
        (
            "own",
            {"joblog.dev/run": "nightly", "joblog.dev/task": "load", "joblog.dev/attempt": "7"},
            LogName("host", "nightly", "load", 7),
        ),
        ("thief", {"joblog.dev/namespace": "prod"}, LogName("host", "thief", "thief", 1)),
        ("guest", {"joblog.dev/namespace": "team-a"}, LogName("team-a", "guest", "guest", 1)),
        ("below", {"joblog.dev/namespace": "host.sub"}, LogName("host.sub", "below", "below", 1)),
        ("odd", {"joblog.dev/run": "a/b ../ü"}, None),
    ]
    for name, labels, _ in cases:
        container(host, name, labels=labels).start(first=b"x\n")
    container(host, "my-sidecar").start(first=b"x\n")
    container(host, "shy", labels={"joblog.dev/collect": "false"}).start(first=b"x\n")
    names = [name for _, _, name in cases if name is not None]
    until(lambda: all(record(host, name) for name in names), "all names are there")

    def all_runs() -> set[str]:
        with Client(data_dir=host.cluster.leader_dir) as client:
            assert "prod" not in client.namespaces()
            return {run.run for run in client.runs("host")}

    until(lambda: any(run.startswith("a-b-..--") for run in all_runs()), "a run with an odd name is there")
    assert not all_runs() & {"my-sidecar", "shy"}


def test_what_lies_there_that_is_no_container_of_dockers_harms_nothing(host: Node, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b'{"log":"stolen\\n","stream":"stdout","time":"2026-01-01T00:00:00Z"}\n')
    thief = container(host, "link")
    thief.path.symlink_to(secret)
    thief._state["StartedAt"], thief._state["Running"] = "2026-01-01T00:00:00Z", True
    thief.checkpoint()
    odd = container(host, "odd-json")
    (odd.folder / "config.v2.json").write_text("[" * 100_000)
    odd.path.write_bytes(b"")
    (host.pods.parent / "containers" / "not-an-id").mkdir()
    strange = container(host, "strange")
    strange._state |= {"ExitCode": "many", "OOMKilled": 1, "Error": [], "FinishedAt": 7}
    strange.start(first=b"x\n")
    strange.exit("a code")  # type: ignore[arg-type]
    found = completed(host, LogName("host", "strange", "strange", 1))
    assert "never" not in found.log.outcome.message
    messages = host.cluster.messages("worker").read_text()
    assert "leads to" in messages
    assert f"what dockerd says of container {odd.id[:12]} can't be read" in messages
    assert record(host, LogName("host", "link", "link", 1)) is None
    host.cluster.assert_no_crash()


def test_nothing_is_twice_and_nothing_missing_through_kills_rotation_and_restarts(host: Node, seed: int) -> None:
    rng = random.Random(seed)
    made = [
        container(host, f"busy-{number}", max_size_bytes=4000, max_files=9, compress=number % 2 == 0, seed=seed)
        for number in range(4)
    ]
    for files in made:
        files.start(first=b"begins\n")
    until(lambda: all(record(host, LogName("host", files.name, files.name, 1)) for files in made), "all are followed")
    for step in range(4):
        for files in made:
            for _ in range(rng.randrange(2, 7)):
                files.print(rng.randbytes(rng.randrange(1, 900)).hex().encode() + b"\n", rng.choice([1, 2]))
        if step % 2:
            host.kill()
        for files in rng.sample(made, 2):
            files.print(b"last words")
            files.exit(rng.randrange(3), restarts=True)
            files.start(by_policy=True, first=b"starts again\n")
            files.print(rng.randbytes(600).hex().encode() + b"\n")
        if step % 2:
            host.start()
        until(lambda: all(has_all(host, files) for files in made), "all of the present runs is stored")
    assert any(files.rotations for files in made)
    for files in made:
        files.exit(0)
        for number, run in enumerate(files.runs):
            name = LogName("host", files.name, files.name, number + 1)
            found = completed(host, name)
            assert host.content(name) == run.printed, (seed, name)
            assert not losses(found), (seed, found.events)
    # What has ended is not collected again.
    host.kill()
    host.start()
    last = container(host, "last")
    last.start(first=b"x\n")
    until(lambda: record(host, LogName("host", "last", "last", 1)), "the worker collects again")
    for files in made:
        assert record(host, LogName("host", files.name, files.name, len(files.runs) + 1)) is None
    host.cluster.assert_no_crash()
