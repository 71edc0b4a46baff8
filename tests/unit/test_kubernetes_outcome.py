"""How containers ended, as the API tells it and as joblog says it; and what is no pod."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joblog.errors import InvalidInput
from joblog.v1 import types_pb2
from joblog.worker.kubernetes.outcome import outcome_of
from joblog.worker.kubernetes.pod import parse_pod, parse_time_ns
from joblog.worker.kubernetes.pods import ContainerEnd
from tests.unit.kubernetes_pods import ended, looping, pod_json, state_of

START_NS, END_NS = parse_time_ns("2026-01-02T03:04:05Z"), parse_time_ns("2026-01-02T03:05:05Z")


def outcome(pod: dict[str, Any], restart: int = 0) -> types_pb2.Outcome | None:
    end = parse_pod(pod).end_of("main", restart)
    return None if end is None else types_pb2.Outcome(**outcome_of(end))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("pod", "kind", "code", "signal", "message"),
    [
        (pod_json(containerStatuses=[state_of("main", ended(0))]), "EXITED", 0, 0, ""),
        (pod_json(containerStatuses=[state_of("main", ended(3))]), "EXITED", 3, 0, "Error"),
        (pod_json(containerStatuses=[state_of("main", ended(137, "OOMKilled"))]), "SIGNALED", 137, 9, "OOMKilled"),
        (pod_json(containerStatuses=[state_of("main", ended(143))]), "SIGNALED", 143, 15, "Error"),
        (pod_json(containerStatuses=[state_of("main", ended(0, signal=9))]), "SIGNALED", 137, 9, ""),
        (pod_json(containerStatuses=[state_of("main", ended(128, "StartError"))]), "NOT_STARTED", 128, 0, "StartError"),
        (
            pod_json(
                phase="Failed",
                reason="Evicted",
                message="The node was low on resource: memory.",
                containerStatuses=[state_of("main", ended(137))],
            ),
            "EVICTED",
            137,
            9,
            "Evicted: The node was low on resource: memory.",
        ),
        (pod_json(phase="Failed", reason="Evicted", containerStatuses=[]), "EVICTED", 0, 0, "Evicted"),
        (
            pod_json(phase="Failed", reason="DeadlineExceeded", containerStatuses=[state_of("main", ended(137))]),
            "TIMED_OUT",
            137,
            9,
            "DeadlineExceeded",
        ),
        (
            pod_json(
                phase="Failed",
                containerStatuses=[state_of("main", ended(137))],
                conditions=[{"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager"}],
            ),
            "NODE_LOST",
            137,
            9,
            "NodeLost",
        ),
        # It was told to go, and went as it should.
        (
            pod_json(phase="Failed", reason="Evicted", containerStatuses=[state_of("main", ended(0))]),
            "EXITED",
            0,
            0,
            "",
        ),
        (pod_json(phase="Failed", containerStatuses=[state_of("main", {"waiting": {}})]), "UNSPECIFIED", 0, 0, ""),
    ],
)
def test_ends(pod: dict[str, Any], kind: str, code: int, signal: int, message: str) -> None:
    found = outcome(pod)
    assert found is not None
    assert types_pb2.OutcomeKind.Name(found.kind) == f"OUTCOME_KIND_{kind}"
    assert (found.exit_code, found.signal, found.message) == (code, signal, message)
    assert found.oom_killed == (message == "OOMKilled")


def test_a_run_of_a_container_that_was_restarted() -> None:
    pod = parse_pod(pod_json(containerStatuses=[state_of("main", {"running": {}}, 3, ended(137, "OOMKilled"))]))
    assert pod.end_of("main", 3) is None
    assert pod.end_of("main", 2) == ContainerEnd(137, 0, "OOMKilled", "", START_NS, END_NS)
    # Longer ago: it has ended, and nobody knows how.
    assert pod.end_of("main", 1) == ContainerEnd()
    assert pod.end_of("main", 4) is None
    assert [pod.alive("main", restart) for restart in (2, 3, 4)] == [False, True, None]
    assert pod.alive("other", 0) is None


def test_a_run_that_waits_for_the_next_one_has_ended_and_not_the_one_before_it() -> None:
    pod = parse_pod(pod_json(containerStatuses=[looping("main", 3, 1)]))
    end = pod.end_of("main", 1)
    assert end is not None
    assert end.exit_code == 3
    assert pod.alive("main", 1) is False
    before = pod.end_of("main", 0)
    assert before is not None
    assert before.exit_code is None
    # Where the kubelet does not know the present run, what it tells as the last one is the one before.
    lost = {**looping("main", 3, 1), "containerID": ""}
    pod = parse_pod(pod_json(containerStatuses=[lost]))
    assert pod.end_of("main", 1) is None


def test_a_static_pod_is_known_by_the_uid_in_its_folder_name() -> None:
    mirror = {"kubernetes.io/config.hash": "h4sh", "kubernetes.io/config.mirror": "h4sh"}
    pod = parse_pod(pod_json(uid="api-uid", annotations=mirror))
    assert (pod.uid, pod.api_uid) == ("h4sh", "api-uid")
    # Said by a pod that is no mirror it would take over another one's folder.
    assert parse_pod(pod_json(uid="own", annotations={"kubernetes.io/config.hash": "h4sh"})).uid == "own"


def test_times() -> None:
    assert parse_time_ns("1970-01-01T00:00:01.5Z") == 1_500_000_000
    assert parse_time_ns("2026-01-02T03:04:05.123456789+01:00") % 10**9 == 123456789
    for bad in ("", "x", "2026-13-01T00:00:00Z", "2026-01-01", "1960-01-01T00:00:00Z", "٢026-01-01T00:00:00Z"):
        assert parse_time_ns(bad) == 0


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
PARTS = ["metadata", "spec", "status", "containerStatuses", "state", "lastState", "terminated", "ownerReferences"]


@given(st.lists(st.tuples(st.sampled_from(PARTS), ANY), max_size=4), ANY)
def test_whatever_the_api_says_is_a_pod_or_refused(changes: list[tuple[str, Any]], whole: Any) -> None:
    for said in (whole, _changed(changes)):
        try:
            pod = parse_pod(said)
        except InvalidInput:
            continue
        for name in pod.states:
            pod.ref(name)
            if (end := pod.end_of(name, 0)) is not None:
                outcome_of(end)


def _changed(changes: list[tuple[str, Any]]) -> dict[str, Any]:
    pod = pod_json(containerStatuses=[state_of("main", ended(1))])
    places = [pod, pod["metadata"], pod["status"], pod["status"]["containerStatuses"][0]]
    places.append(places[-1]["state"])
    for part, value in changes:
        for place in places:
            if part in place:
                place[part] = value
    return pod
