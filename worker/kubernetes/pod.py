"""A pod as the API tells it, reduced to what joblog goes by. What comes from the API is checked, not believed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from joblog.errors import InvalidInput
from joblog.worker.kubernetes.pods import ContainerEnd, ContainerRef

# What the kubelet names the folder of a static pod by, where the API has a mirror of it with a uid of its own.
_STATIC_UID = "kubernetes.io/config.hash"
_MIRROR = "kubernetes.io/config.mirror"
_QUANTITY = re.compile(r"(\d{1,18}(?:\.\d{1,9})?)(|[kMGTPE]|[KMGTPE]i|m)\Z")
_FACTORS = {"": 1, "m": 1 / 1000, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18}
_FACTORS |= {f"{unit}i": 1 << shift for unit, shift in zip("KMGTPE", range(10, 70, 10), strict=True)}
_MAX_TEXTS = 1000
# Conditions of type DisruptionTarget that say what took a pod off its node, as words of status.reason would.
_DISRUPTIONS = {
    "PreemptionByScheduler": "Preempting",
    "DeletionByTaintManager": "NodeLost",
    "EvictionByEvictionAPI": "Evicted",
    "DeletionByPodGC": "NodeLost",
    "TerminationByKubelet": "Evicted",
}


class Owner(NamedTuple):
    """Who made a pod: of several the controller."""

    kind: str = ""
    name: str = ""


NOBODY = Owner()


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """What a container was to be. memory_limit_bytes: 0 for none."""

    command: Sequence[str] = ()
    memory_limit_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ContainerState:
    """How often a container was restarted, whether it runs, and how its present run ended, and the one before.

    before: None as well where the API has forgotten it, which it does when the present run has ended.
    """

    restarts: int = 0
    running: bool = False
    started_ns: int = 0
    ended: ContainerEnd | None = None
    before: ContainerEnd | None = None


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod. uid: as the kubelet names its folder. generated: its name is one that no other pod gets.

    reason: why the pod as a whole ended, as a word (Evicted, DeadlineExceeded, NodeLost ...); empty: it did not.
    """

    namespace: str
    name: str
    uid: str
    api_uid: str = ""
    node: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    owner: Owner = NOBODY
    generated: bool = False
    deleted: bool = False
    phase: str = ""
    reason: str = ""
    message: str = ""
    containers: Mapping[str, ContainerSpec] = field(default_factory=dict)
    states: Mapping[str, ContainerState] = field(default_factory=dict)

    @property
    def has_ended(self) -> bool:
        """Whether none of its containers will run again."""
        return self.phase in ("Succeeded", "Failed")

    def ref(self, container: str) -> ContainerRef:
        """The present run of a container."""
        return ContainerRef(self.namespace, self.name, self.uid, container, self.states[container].restarts)

    def end_of(self, container: str, restart: int) -> ContainerEnd | None:
        """How a run of a container ended; without exit code where that is not known any more. None: it has not."""
        state = self.states.get(container)
        if state is None or state.restarts < restart:
            return self._end(ContainerEnd()) if self.has_ended else None
        if state.restarts == restart:
            found = state.ended
            if found is None and self.has_ended and not state.running:
                found = ContainerEnd()
        else:
            found = state.before if state.restarts == restart + 1 else None
            found = found or ContainerEnd()
        return None if found is None else self._end(found)

    def _end(self, end: ContainerEnd) -> ContainerEnd:
        """With the reason of the pod where that says more than the container's own."""
        if not self.reason or end.exit_code == 0 or end.oom_killed:
            return end
        message = end.message or self.message
        return ContainerEnd(end.exit_code, end.signal, self.reason, message, end.started_ns, end.ended_ns)

    def alive(self, container: str, restart: int) -> bool | None:
        """Whether a run of a container goes on; None where the API does not say."""
        state = self.states.get(container)
        if state is None:
            return False if self.has_ended else None
        if state.restarts != restart:
            return False if state.restarts > restart else None
        return state.running if state.running or state.ended is not None or self.has_ended else None

    def has_begun(self, container: str) -> bool:
        """Whether a container was ever started, as far as the API says."""
        state = self.states.get(container, ContainerState())
        return state.running or state.restarts > 0 or state.ended is not None or state.before is not None


def parse_pod(said: object) -> Pod:
    """A pod from the API's JSON. Raises InvalidInput for one that has no name, namespace or uid."""
    whole = _object(said)
    meta, spec, status = (_object(whole.get(part)) for part in ("metadata", "spec", "status"))
    annotations = _texts(meta.get("annotations"))
    namespace, name, api_uid = (_text(meta.get(key)) for key in ("namespace", "name", "uid"))
    if not (namespace and name and api_uid):
        raise InvalidInput(f"the API gave a pod without name, namespace or uid: {name[:60]!r}")
    static = annotations.get(_STATIC_UID, "") if _MIRROR in annotations else ""
    return Pod(
        namespace,
        name,
        static or api_uid,
        api_uid,
        node=_text(spec.get("nodeName")),
        labels=_texts(meta.get("labels")),
        annotations=annotations,
        owner=_owner(meta.get("ownerReferences")),
        generated=bool(_text(meta.get("generateName"))),
        deleted=bool(_text(meta.get("deletionTimestamp"))),
        phase=_text(status.get("phase")),
        reason=_pod_reason(status),
        message=_text(status.get("message")),
        containers=_containers(spec),
        states=_states(status),
    )


def parse_time_ns(text: str) -> int:
    """RFC 3339, as the API writes times, with up to nine digits behind the second; 0 for what is none."""
    match = re.match(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)\Z", text, re.ASCII)
    if match is None:
        return 0
    try:
        moment = datetime.fromisoformat(match[1] + match[3].replace("Z", "+00:00"))
        seconds = int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())
    except (ValueError, OverflowError):
        return 0
    return max(0, seconds * 10**9 + int((match[2] or "").ljust(9, "0")))


def parse_quantity(text: str) -> int:
    """A quantity such as 512Mi, in units of one, rounded up; 0 for what is none."""
    match = _QUANTITY.match(text)
    return -int(-float(match[1]) * _FACTORS[match[2]] // 1) if match else 0


def _containers(spec: Mapping[str, Any]) -> dict[str, ContainerSpec]:
    found = {}
    for part in ("initContainers", "containers", "ephemeralContainers"):
        for one in _objects(spec.get(part)):
            limits = _object(_object(one.get("resources")).get("limits"))
            words = [*_words(one.get("command")), *_words(one.get("args"))]
            found[_text(one.get("name"))] = ContainerSpec(words, parse_quantity(_text(limits.get("memory"))))
    found.pop("", None)
    return found


def _states(status: Mapping[str, Any]) -> dict[str, ContainerState]:
    found = {}
    for part in ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"):
        for one in _objects(status.get(part)):
            state = _object(one.get("state"))
            running = state.get("running")
            restarts = one.get("restartCount")
            ended = state.get("terminated")
            before = _object(one.get("lastState")).get("terminated")
            if isinstance(state.get("waiting"), dict) and _is_present_run(one, before):
                ended, before = before, None
            found[_text(one.get("name"))] = ContainerState(
                restarts if type(restarts) is int and restarts >= 0 else 0,
                isinstance(running, dict),
                parse_time_ns(_text(_object(running).get("startedAt"))),
                _terminated(ended),
                _terminated(before),
            )
    found.pop("", None)
    return found


def _is_present_run(status: Mapping[str, Any], terminated: object) -> bool:
    """Whether the state that is told as the last one is that of the run that is counted now.

    A container that waits to be started again has it there (CrashLoopBackOff): restartCount grows when it is started.
    """
    present = _text(status.get("containerID"))
    return bool(present) and _text(_object(terminated).get("containerID")) == present


def _terminated(said: object) -> ContainerEnd | None:
    if not isinstance(said, dict):
        return None
    code, signal = said.get("exitCode"), said.get("signal")
    return ContainerEnd(
        code if type(code) is int and -(2**31) <= code < 2**31 else None,
        signal if type(signal) is int and 0 < signal < 128 else 0,
        _text(said.get("reason")),
        _text(said.get("message")),
        parse_time_ns(_text(said.get("startedAt"))),
        parse_time_ns(_text(said.get("finishedAt"))),
    )


def _pod_reason(status: Mapping[str, Any]) -> str:
    if reason := _text(status.get("reason")):
        return reason
    for one in _objects(status.get("conditions")):
        if one.get("type") == "DisruptionTarget" and one.get("status") == "True":
            return _DISRUPTIONS.get(_text(one.get("reason")), "Evicted")
    return ""


def _owner(said: object) -> Owner:
    owners = _objects(said)
    chosen = next((one for one in owners if one.get("controller") is True), owners[0] if owners else {})
    return Owner(_text(chosen.get("kind")), _text(chosen.get("name")))


def _object(said: object) -> Mapping[str, Any]:
    return said if isinstance(said, dict) else {}


def _objects(said: object) -> list[Mapping[str, Any]]:
    return [one for one in said if isinstance(one, dict)] if isinstance(said, list) else []


def _text(said: object) -> str:
    # JSON may hold halves of characters, which nothing that is written down may.
    return said.encode(errors="replace").decode() if isinstance(said, str) else ""


def _words(said: object) -> list[str]:
    return [_text(one) for one in said if isinstance(one, str)] if isinstance(said, list) else []


def _texts(said: object) -> dict[str, str]:
    items = _object(said).items()
    return {_text(key): _text(value) for key, value in list(items)[:_MAX_TEXTS] if isinstance(value, str)}
