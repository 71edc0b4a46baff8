"""The cluster watcher through real processes: cuts, rotation, restarts, another watcher's takeover, pods that die."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from joblog.client import Client
from joblog.errors import JoblogError
from joblog.identity import LogName
from joblog.v1 import logs_pb2, types_pb2
from tests.deploying.rights import WATCHER, used
from tests.e2e.machine import JOBLOG, until
from tests.fault.cluster import Cluster, Process
from tests.kubernetes_api import KubernetesApi, kubernetes_api
from tests.unit.kubernetes_pods import ended, looping, pod_json, state_of, waiting


class Watching:
    """A leader, an API server, and watchers with data folders of their own."""

    def __init__(self, folder: Path, api: KubernetesApi) -> None:
        self.api = api
        self.folder = folder
        file = api.kubeconfig(folder / "kubeconfig")
        self.cluster = Cluster(
            folder,
            JOBLOG_KUBERNETES_API_KUBECONFIG=str(file),
            JOBLOG_WATCH_SECRET="what all watchers know",
            JOBLOG_WATCH_LEASE_SECONDS="5",
        )
        self.watchers: list[Process] = []

    def start(self, name: str = "w1", **settings: str) -> Process:
        command = [*JOBLOG, "watch", "--data-dir", str(self.folder / name), "--leader", self.cluster.grpc_address]
        environment = {**self.cluster.environment, **self.cluster.token, **settings}
        watcher = Process(command, environment, self.cluster.messages(name))
        self.watchers.append(watcher)
        return watcher

    def said(self, name: str, text: str) -> bool:
        messages = self.cluster.messages(name)
        return messages.exists() and text in messages.read_text()

    def close(self) -> None:
        for watcher in self.watchers:
            watcher.kill()

    def found(self, name: LogName) -> logs_pb2.GetLogResponse | None:
        try:
            with Client(data_dir=self.cluster.leader_dir) as client:
                return client.log(name)
        except JoblogError:
            return None

    def text(self, name: LogName) -> bytes:
        try:
            with Client(data_dir=self.cluster.leader_dir) as client:
                return b"".join(part.data for part in client.read(name))
        except JoblogError:
            return b""

    def completed(self, name: LogName) -> logs_pb2.GetLogResponse:
        def look() -> logs_pb2.GetLogResponse | None:
            found = self.found(name)
            return found if found is not None and found.log.state == types_pb2.LOG_STATE_COMPLETED else None

        found: logs_pb2.GetLogResponse = until(look, f"{name} is completed")
        return found

    def arrives(self, name: LogName, text: bytes) -> None:
        until(lambda: self.text(name) == text, f"{name} has all {len(text)} bytes")

    def put(self, name: str, **more: Any) -> None:
        self.api.put_pod(pod_json(name, "ci", **more))

    def end(self, name: str, code: int, reason: str = "") -> None:
        state = state_of("main", ended(code, reason))
        self.put(name, phase="Failed" if code else "Succeeded", containerStatuses=[state])
        self.api.end_log("ci", name, "main")


@pytest.fixture
def watching(tmp_path: Path) -> Iterator[Watching]:
    with kubernetes_api() as api:
        where = Watching(tmp_path, api)
        with where.cluster:
            where.cluster.start_leader()
            yield where
            where.close()
            where.cluster.assert_no_crash()


def log_of(pod: str, attempt: int = 1) -> LogName:
    return LogName("ci", pod, "main", attempt)


def lines(rng: random.Random, count: int) -> bytes:
    return b"".join(b"%d %s\n" % (number, rng.randbytes(rng.randrange(40)).hex().encode()) for number in range(count))


@pytest.mark.short
def test_cuts_rotations_and_kills_lose_and_repeat_nothing(watching: Watching) -> None:
    rng = random.Random(7)
    api, printed = watching.api, {f"p{number}": b"" for number in range(4)}
    for pod in printed:
        watching.put(pod)
    watcher = watching.start()
    until(lambda: watching.said("w1", "watches the logs"), "it watches")
    for round_number in range(12):
        for pod in printed:
            data = lines(rng, rng.randrange(1, 60))
            printed[pod] += data
            api.write("ci", pod, "main", data)
        if round_number == 5:
            watcher.kill()
            watcher = watching.start()
        if round_number % 3 == 0:
            api.drop_connections()
        elif round_number % 3 == 1:
            # What was not read before is gone with the old file.
            for pod, text in printed.items():
                watching.arrives(log_of(pod), text)
                api.rotate("ci", pod, "main")
    for pod in printed:
        watching.end(pod, 0)
    for pod, text in printed.items():
        found = watching.completed(log_of(pod))
        assert watching.text(log_of(pod)) == text
        assert found.log.outcome.kind == types_pb2.OUTCOME_KIND_EXITED


def test_another_watcher_goes_on_where_one_was(watching: Watching) -> None:
    watching.put("p")
    watching.api.write("ci", "p", "main", b"one\ntwo\n")
    first = watching.start("w1")
    watching.arrives(log_of("p"), b"one\ntwo\n")
    watching.start("w2")
    until(lambda: watching.said("w2", "another watcher holds the lease"), "the second one waits")
    assert not watching.said("w2", "watches the logs")
    first.kill()
    watching.api.write("ci", "p", "main", b"two\nthree\n")
    watching.arrives(log_of("p"), b"one\ntwo\ntwo\nthree\n")
    # It was stopped properly: its lease is free at once.
    watching.watchers[-1].popen.terminate()
    watching.watchers[-1].popen.wait(20)
    lease = watching.api.lease("default", "joblog-watch")
    assert lease is not None
    assert lease["spec"]["holderIdentity"] == ""
    watching.start("w3")
    watching.api.write("ci", "p", "main", b"four\n")
    watching.end("p", 3)
    found = watching.completed(log_of("p"))
    assert watching.text(log_of("p")) == b"one\ntwo\ntwo\nthree\nfour\n"
    assert found.log.outcome.exit_code == 3
    assert watching.found(log_of("p", 2)) is None


@pytest.mark.short
def test_what_dies_is_taken_to_its_last_line(watching: Watching) -> None:
    api = watching.api
    watching.put("oom")
    watching.put("reaped")
    watching.put("again")
    watching.put("loops")
    watching.put("later", phase="Pending", containerStatuses=[waiting("main")])
    watching.start()
    until(lambda: watching.found(log_of("later")), "what has not begun is known")
    watching.put("later")
    api.write("ci", "later", "main", b"begins late\n")
    for pod in ("oom", "reaped", "again", "loops"):
        api.write("ci", pod, "main", b"begins\n")
        watching.arrives(log_of(pod), b"begins\n")
    api.write("ci", "oom", "main", b"last words")
    watching.end("oom", 137, "OOMKilled")
    api.write("ci", "reaped", "main", b"last line\n")
    api.delete_pod("ci", "reaped")
    # The container is started again, and its log is another one.
    api.end_log("ci", "again", "main")
    api.write("ci", "again", "main", b"second life\n", restart=1)
    running = {"running": {"startedAt": "2026-01-02T03:06:05Z"}}
    watching.put("again", containerStatuses=[state_of("main", running, 1, ended(1))])
    # One that has failed again already, before anybody looked, and waits for its third life.
    api.end_log("ci", "loops", "main")
    api.write("ci", "loops", "main", b"second life\n", restart=1)
    api.end_log("ci", "loops", "main", restart=1)
    watching.put("loops", containerStatuses=[looping("main", 3, 1)])
    oom = watching.completed(log_of("oom"))
    assert oom.log.outcome.oom_killed
    assert watching.text(log_of("oom")) == b"begins\nlast words"
    reaped = watching.completed(log_of("reaped"))
    assert watching.text(log_of("reaped")) == b"begins\nlast line\n"
    assert reaped.log.outcome.kind == types_pb2.OUTCOME_KIND_UNSPECIFIED
    assert watching.completed(log_of("again")).log.outcome.exit_code == 1
    watching.arrives(log_of("again", 2), b"second life\n")
    watching.arrives(log_of("later"), b"begins late\n")
    assert watching.completed(log_of("loops", 2)).log.outcome.exit_code == 3
    watching.completed(log_of("loops"))
    assert watching.text(log_of("loops")) == b"begins\n"
    assert watching.text(log_of("loops", 2)) == b"second life\n"
    # The chart gives watchers what they ask for; it makes the lease itself.
    assert used(watching.api.requests) - {("leases", "create")} <= WATCHER


def test_what_has_not_begun_is_known_and_has_a_log_from_its_first_line_on(watching: Watching) -> None:
    pods = ("begins", "is-deleted", "fails")
    for pod in pods:
        watching.put(pod, phase="Pending", containerStatuses=[waiting("main")])
    watcher = watching.start()
    for pod in pods:
        until(lambda pod=pod: watching.found(log_of(pod)), f"{pod} is known")  # type: ignore[misc]
    watcher.kill()
    watching.start()
    until(lambda: watching.api.count("watch=1") > 1, "the second one watches")
    assert not watching.api.count("/log?")
    watching.api.write("ci", "begins", "main", b"one\n")
    watching.put("begins")
    watching.arrives(log_of("begins"), b"one\n")
    watching.end("begins", 3)
    assert watching.completed(log_of("begins")).log.outcome.exit_code == 3
    watching.api.delete_pod("ci", "is-deleted")
    watching.put("fails", phase="Failed", containerStatuses=[waiting("main", "ErrImagePull")])
    for pod in pods[1:]:
        found = watching.completed(log_of(pod))
        assert found.log.outcome.kind == types_pb2.OUTCOME_KIND_UNSPECIFIED
        assert "never started" in found.log.outcome.message
    for pod in pods:
        assert "lost_lines" not in {event.kind for event in watching.found(log_of(pod)).events}  # type: ignore[union-attr]
        assert watching.found(log_of(pod, 2)) is None


def test_lines_that_were_rotated_away_while_nobody_looked_are_missing_and_said_to_be(watching: Watching) -> None:
    api = watching.api
    watching.put("p")
    api.write("ci", "p", "main", b"one\n")
    watcher = watching.start()
    watching.arrives(log_of("p"), b"one\n")
    watcher.kill()
    api.write("ci", "p", "main", b"never seen\n")
    api.rotate("ci", "p", "main")
    api.write("ci", "p", "main", b"three\n")
    watching.start()
    watching.end("p", 0)
    found = watching.completed(log_of("p"))
    assert watching.text(log_of("p")) == b"one\nthree\n"
    assert [event.kind for event in found.events if event.kind == "lost_lines"] == ["lost_lines"]


def test_a_pod_that_went_while_nobody_followed_it_has_an_end_too(watching: Watching) -> None:
    """Its spool is sealed: the key comes from the leader when the watcher is there again."""
    watching.put("p")
    watching.api.write("ci", "p", "main", b"one\n")
    watcher = watching.start(JOBLOG_SPOOL_ENCRYPTION="on")
    watching.arrives(log_of("p"), b"one\n")
    watcher.kill()
    watching.api.delete_pod("ci", "p")
    watching.start(JOBLOG_SPOOL_ENCRYPTION="on")
    found = watching.completed(log_of("p"))
    assert watching.text(log_of("p")) == b"one\n"
    assert [event.kind for event in found.events if event.kind == "lost_lines"] == ["lost_lines"]
