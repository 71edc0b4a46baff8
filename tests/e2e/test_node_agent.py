"""The node agent on one node: what lies in the kubelet's folder becomes logs, each under its name, once."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from joblog.client import Client
from joblog.identity import LogName
from joblog.v1 import logs_pb2, types_pb2
from joblog.worker.spool.reader import list_spools
from tests.e2e.machine import until
from tests.fault.node import Node, node
from tests.kubelet_writer import ContainerLog, stamp

COMPLETED = types_pb2.LOG_STATE_COMPLETED


@pytest.fixture(scope="module")
def where(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("node")
    (folder / "app").mkdir()
    (folder / "docker").mkdir()
    with node(
        folder,
        JOBLOG_KUBERNETES_EXCLUDE="secret-*,*/sidecar",
        JOBLOG_KUBERNETES_LINKED_DIRS=str(folder / "docker"),
        JOBLOG_KUBERNETES_QUIET_SECONDS="0",
        JOBLOG_FILES_FOLLOW=f"web:nginx/{{name}}={folder}/app/*.log",
    ) as made:
        made.start()
        until(lambda: made.collects(1), "the agent collects")
        yield made


def found(where: Node, name: LogName) -> logs_pb2.GetLogResponse | None:
    log = ContainerLog.__new__(ContainerLog)
    log.namespace, log.pod, log.container, log.restart = name.namespace, name.run, name.task, name.attempt - 1
    return where.record(log)


def wait_for(where: Node, name: LogName, what: Callable[[logs_pb2.GetLogResponse], bool]) -> logs_pb2.GetLogResponse:
    def look() -> logs_pb2.GetLogResponse | None:
        record = found(where, name)
        return record if record is not None and what(record) else None

    record = until(look, f"{name} is as expected")
    assert isinstance(record, logs_pb2.GetLogResponse)
    return record


def is_completed(record: logs_pb2.GetLogResponse) -> bool:
    return record.log.state == COMPLETED


def kinds(record: logs_pb2.GetLogResponse) -> set[str]:
    return {event.kind for event in record.events}


def test_both_streams_fragments_and_the_containers_name(where: Node) -> None:
    log = where.container("build-1")
    log.print(b"out\n", 1)
    log.print(b"err\n", 2)
    log.print(b"half ", 1)
    log.rotate()
    log.print(b"a line, " + b"x" * 40_000 + b"\n", 1)
    name = where.name(log)
    wait_for(where, name, lambda record: record.log.next_offset == log.length)
    log.delete_pod()
    record = wait_for(where, name, is_completed)
    assert name == ("ci", "build-1", "main", 1)
    assert where.content(name) == b"out\nerr\nhalf a line, " + b"x" * 40_000 + b"\n"
    assert where.content(name, 2) == b"err\n"
    assert record.log.outcome.kind == types_pb2.OUTCOME_KIND_UNSPECIFIED
    assert "files are gone" in record.log.outcome.message
    assert record.log.seal.newlines == 3
    assert not kinds(record)


def test_a_container_that_starts_again_ends_the_run_before_it(where: Node) -> None:
    first = where.container("crash-loop")
    first.print(b"one\n")
    first.end()
    second = where.container("crash-loop", restart=1)
    second.print(b"two\n")
    record = wait_for(where, where.name(first), is_completed)
    assert "started again" in record.log.outcome.message
    assert where.content(LogName("ci", "crash-loop", "main", 1)) == b"one\n"
    wait_for(where, LogName("ci", "crash-loop", "main", 2), lambda record: record.log.next_offset == 4)


def test_a_pod_that_is_made_anew_under_its_name_gets_the_next_attempt(where: Node) -> None:
    old = where.container("web-0", uid="old")
    old.print(b"old\n")
    wait_for(where, where.name(old), lambda record: record.log.next_offset == 4)
    old.delete_pod()
    new = where.container("web-0", uid="new")
    new.print(b"newer\n")
    wait_for(where, LogName("ci", "web-0", "main", 2), lambda record: record.log.next_offset == 6)
    wait_for(where, where.name(old), is_completed)
    assert where.content(LogName("ci", "web-0", "main", 1)) == b"old\n"
    assert where.content(LogName("ci", "web-0", "main", 2)) == b"newer\n"


def restart(where: Node, **settings: str) -> None:
    """As for an upgrade."""
    worker = where.cluster.worker
    assert worker is not None
    assert worker.terminate() == 0
    where.cluster.environment.update(settings)
    starts = where.cluster.messages("worker").read_text().count("following: collects")
    where.start()
    until(lambda: where.collects(starts + 1), "the agent collects again")


def test_what_is_quiet_ends_and_what_comes_after_is_a_part_of_its_own(where: Node) -> None:
    restart(where, JOBLOG_KUBERNETES_QUIET_SECONDS="3")
    log = where.container("quiet")
    log.print(b"before\n")
    record = wait_for(where, where.name(log), is_completed)
    assert "nothing came for 3 s" in record.log.outcome.message
    log.print(b"after\n")
    part = LogName("ci", "quiet", "main~2", 1)
    wait_for(where, part, lambda record: record.log.next_offset == 6)
    assert where.content(part) == b"after\n"
    wait_for(where, part, is_completed)
    restart(where, JOBLOG_KUBERNETES_QUIET_SECONDS="0")


def test_excluded_containers_and_strange_folders_are_left_alone(where: Node) -> None:
    for namespace, container in (("secret-plans", "main"), ("ci", "sidecar")):
        ContainerLog(where.pods, namespace, "excluded", container=container).print(b"secret\n")
    (where.pods / "not-a-pod").mkdir()
    (where.pods / "a_b_c").write_bytes(b"")
    (where.pods / "ci_pod_uid" / "main").mkdir(parents=True)
    (where.pods / "ci_pod_uid" / "main" / "x.log").write_bytes(b"")
    after = where.container("after")
    after.print(b"x\n")
    wait_for(where, where.name(after), lambda record: record.log.next_offset == 2)
    with Client(data_dir=where.cluster.leader_dir) as client:
        assert "secret-plans" not in client.namespaces()
        assert "excluded" not in {run.run for run in client.runs("ci")}


def test_links_lead_to_dockers_files_and_nowhere_else(where: Node, tmp_path: Path) -> None:
    docker = where.pods.parent / "docker" / "abc"
    docker.mkdir()
    file = docker / "abc-json.log"
    lines = [("one\n", "stdout"), ("two \u00e4", "stdout"), ("\n", "stdout"), ("err\n", "stderr")]
    with file.open("w") as target:
        for text, stream in lines:
            target.write(json.dumps({"log": text, "stream": stream, "time": stamp(time.time_ns())}) + "\n")
    shadow = tmp_path / "shadow"
    shadow.write_bytes(b"root:secret\n")
    for pod, leads_to in (("docker", file), ("thief", shadow)):
        folder = where.pods / f"ci_{pod}_uid" / "main"
        folder.mkdir(parents=True)
        (folder / "0.log").symlink_to(leads_to)
    name = LogName("ci", "docker", "main", 1)
    wait_for(where, name, lambda record: record.log.next_offset == 15)
    os.rename(file, f"{file}.1")
    file.write_text(json.dumps({"log": "rotated\n", "stream": "stdout", "time": stamp(time.time_ns())}) + "\n")
    wait_for(where, name, lambda record: record.log.next_offset == 23)
    assert where.content(name) == "one\ntwo \u00e4\nerr\nrotated\n".encode()
    assert where.content(name, 2) == b"err\n"
    said = where.cluster.messages("worker").read_text()
    assert "not followed" in said and str(shadow) in said
    with Client(data_dir=where.cluster.leader_dir) as client:
        assert "thief" not in {run.run for run in client.runs("ci")}
    shutil.rmtree(where.pods / "ci_thief_uid")


def test_files_by_glob_are_followed_past_rotation(where: Node) -> None:
    path = where.pods.parent / "app" / "access.log"
    path.write_bytes(b"GET /\n")
    name = LogName("web", "nginx", "access", 1)
    wait_for(where, name, lambda record: record.log.next_offset == 6)
    os.rename(path, f"{path}.1")
    path.write_bytes(b"GET /again\n")
    wait_for(where, name, lambda record: record.log.next_offset == 17)
    assert where.content(name) == b"GET /\nGET /again\n"


def forget_spool(where: Node, log: ContainerLog) -> None:
    """The disk loses a log's spool."""
    (folder,) = [
        path
        for path in list_spools(where.cluster.worker_dir / "worker" / "spool")
        if json.loads((path / "task.json").read_bytes())["run"] == log.pod
    ]
    shutil.rmtree(folder)


def test_what_was_gone_before_the_first_look_and_while_nobody_looked_is_said(where: Node) -> None:
    """The agent is stopped, as for an upgrade: what happens meanwhile is found out, or said to be missing."""
    pods = ("upgrade-kept", "upgrade-deleted", "upgrade-lost", "upgrade-spoolless", "upgrade-rotated")
    kept, deleted, lost, spoolless, rotated = (where.container(pod) for pod in pods)
    for log in (kept, deleted, lost, spoolless, rotated):
        log.print(b"before\n")
        wait_for(where, where.name(log), lambda record: record.log.next_offset == 7)
    worker = where.cluster.worker
    assert worker is not None
    assert worker.terminate() == 0
    kept.print(b"while it is away\n")
    kept.rotate()
    kept.rotate()
    kept.print(b"after two rotations\n")
    deleted.print(b"nobody reads this\n")
    deleted.delete_pod()
    for _ in range(6):
        lost.print(b"rotated away\n")
        lost.rotate()
    forget_spool(where, spoolless)
    spoolless.print(b"with another spool\n")
    forget_spool(where, rotated)
    rotated.rotate()
    rotated.print(b"with another spool\n")
    late = where.container("late")
    for _ in range(6):
        late.print(b"early\n")
        late.rotate()
    late.print(b"last\n")
    where.start()
    record = wait_for(where, where.name(kept), lambda record: record.log.next_offset == kept.length)
    assert not kinds(record) & {"lost_lines", "start_missing"}
    assert where.content(where.name(kept)) == b"before\nwhile it is away\nafter two rotations\n"
    wait_for(where, where.name(spoolless), lambda record: record.log.next_offset == spoolless.length)
    assert where.content(where.name(spoolless)) == b"before\nwith another spool\n"
    again = where.name(rotated)._replace(attempt=2)
    wait_for(where, again, lambda record: record.log.next_offset == rotated.length)
    assert where.content(where.name(rotated)) == b"before\n"
    assert where.content(again) == b"before\nwith another spool\n"
    record = wait_for(where, where.name(deleted), is_completed)
    assert kinds(record) >= {"lost_lines"}
    assert where.content(where.name(deleted)) == b"before\n"
    record = wait_for(where, where.name(lost), lambda record: "lost_lines" in kinds(record))
    assert "nobody knows how much" in next(event.message for event in record.events if event.kind == "lost_lines")
    record = wait_for(where, where.name(late), lambda record: record.log.next_offset == 4 * 6 + 5)
    assert "start_missing" in kinds(record)
    done = where.cluster.joblog("verify", "upgrade-deleted", "--namespace", "ci")
    assert done.returncode != 0
    assert b"not complete" in done.stdout, done.stdout
    where.cluster.assert_no_crash()
    assert list_spools(where.cluster.worker_dir / "worker" / "spool")
