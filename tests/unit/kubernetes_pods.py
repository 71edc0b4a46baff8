"""Pods as the Kubernetes API tells them, made for tests."""

from __future__ import annotations

from typing import Any


def pod_json(
    name: str = "pod-1",
    namespace: str = "team-a",
    *,
    uid: str = "",
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    owner: tuple[str, str] | None = None,
    node: str = "node-1",
    containers: tuple[str, ...] = ("main",),
    phase: str = "Running",
    generated: bool = True,
    **status: Any,
) -> dict[str, Any]:
    """A pod whose containers run, unless `status` says otherwise."""
    meta: dict[str, Any] = {"name": name, "namespace": namespace, "uid": uid or f"uid-of-{name}"}
    meta |= {"labels": labels or {}, "annotations": annotations or {}}
    if generated:
        meta["generateName"] = "pod-"
    if owner is not None:
        meta["ownerReferences"] = [{"kind": owner[0], "name": owner[1], "controller": True}]
    running = {"running": {"startedAt": "2026-01-02T03:04:05Z"}}
    states = [{"name": one, "restartCount": 0, "state": running, "lastState": {}} for one in containers]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": meta,
        "spec": {"nodeName": node, "containers": [{"name": one, "image": "x"} for one in containers]},
        "status": {"phase": phase, "containerStatuses": states, **status},
    }


def ended(code: int, reason: str = "", **fields: Any) -> dict[str, Any]:
    """The state of a container that has ended."""
    times = {"startedAt": "2026-01-02T03:04:05Z", "finishedAt": "2026-01-02T03:05:05Z"}
    return {"terminated": {"exitCode": code, "reason": reason or ("Error" if code else "Completed"), **times, **fields}}


def waiting(name: str, reason: str = "ContainerCreating") -> dict[str, Any]:
    """The status of a container that was not started yet."""
    return state_of(name, {"waiting": {"reason": reason}})


def looping(name: str, code: int, restarts: int) -> dict[str, Any]:
    """The status of a container whose present run has failed, and which waits for its next one."""
    run = f"containerd://{name}-{restarts}"
    state = {"waiting": {"reason": "CrashLoopBackOff"}}
    return {**state_of(name, state, restarts, ended(code, containerID=run)), "containerID": run}


def state_of(name: str, state: dict[str, Any], restarts: int = 0, last: dict[str, Any] | None = None) -> dict[str, Any]:
    """A container's status."""
    return {"name": name, "restartCount": restarts, "state": state, "lastState": last or {}}
