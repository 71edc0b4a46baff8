"""A pod as the API tells it, reduced to what joblog goes by. What comes from the API is checked, not believed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from joblog.errors import InvalidInput
from joblog.worker.checked_json import object_of, objects_of, text_of, texts_of, words_of
from joblog.worker.kubernetes.pods import ContainerEnd, ContainerRef

# What the kubelet names the folder of a static pod by, where the API has a mirror of it with a uid of its own.
_STATIC_UID = "kubernetes.io/config.hash"
_MIRROR = "kubernetes.io/config.mirror"
_QUANTITY = re.compile(r"(\d{1,18}(?:\.\d{1,9})?)(|[kMGTPE]|[KMGTPE]i|m)\Z")
_FACTORS = {"": 1, "m": 1 / 1000, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18}
_FACTORS |= {f"{unit}i": 1 << shift for unit, shift in zip("KMGTPE", range(10, 70, 10), strict=True)}
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
    whole = object_of(said)
    meta, spec, status = (object_of(whole.get(part)) for part in ("metadata", "spec", "status"))
    annotations = texts_of(meta.get("annotations"))
    namespace, name, api_uid = (text_of(meta.get(key)) for key in ("namespace", "name", "uid"))
    if not (namespace and name and api_uid):
        raise InvalidInput(f"the API gave a pod without name, namespace or uid: {name[:60]!r}")
    static = annotations.get(_STATIC_UID, "") if _MIRROR in annotations else ""
    return Pod(
        namespace,
        name,
        static or api_uid,
        api_uid,
        node=text_of(spec.get("nodeName")),
        labels=texts_of(meta.get("labels")),
        annotations=annotations,
        owner=_owner(meta.get("ownerReferences")),
        generated=bool(text_of(meta.get("generateName"))),
        deleted=bool(text_of(meta.get("deletionTimestamp"))),
        phase=text_of(status.get("phase")),
        reason=_pod_reason(status),
        message=text_of(status.get("message")),
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
        for one in objects_of(spec.get(part)):
            limits = object_of(object_of(one.get("resources")).get("limits"))
            words = [*words_of(one.get("command")), *words_of(one.get("args"))]
            found[text_of(one.get("name"))] = ContainerSpec(words, parse_quantity(text_of(limits.get("memory"))))
    found.pop("", None)
    return found


def _states(status: Mapping[str, Any]) -> dict[str, ContainerState]:
    found = {}
    for part in ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"):
        for one in objects_of(status.get(part)):
            state = object_of(one.get("state"))
            running = state.get("running")
            restarts = one.get("restartCount")
            ended = state.get("terminated")
            before = object_of(one.get("lastState")).get("terminated")
            if isinstance(state.get("waiting"), dict) and _is_present_run(one, before):
                ended, before = before, None
            found[text_of(one.get("name"))] = ContainerState(
                restarts if type(restarts) is int and restarts >= 0 else 0,
                isinstance(running, dict),
                parse_time_ns(text_of(object_of(running).get("startedAt"))),
                _terminated(ended),
                _terminated(before),
            )
    found.pop("", None)
    return found


def _is_present_run(status: Mapping[str, Any], terminated: object) -> bool:
    """Whether the state that is told as the last one is that of the run that is counted now.

    A container that waits to be started again has it there (CrashLoopBackOff): restartCount grows when it is started.
    """
    present = text_of(status.get("containerID"))
    return bool(present) and text_of(object_of(terminated).get("containerID")) == present


def _terminated(said: object) -> ContainerEnd | None:
    if not isinstance(said, dict):
        return None
    code, signal = said.get("exitCode"), said.get("signal")
    return ContainerEnd(
        code if type(code) is int and -(2**31) <= code < 2**31 else None,
        signal if type(signal) is int and 0 < signal < 128 else 0,
        text_of(said.get("reason")),
        text_of(said.get("message")),
        parse_time_ns(text_of(said.get("startedAt"))),
        parse_time_ns(text_of(said.get("finishedAt"))),
    )


def _pod_reason(status: Mapping[str, Any]) -> str:
    if reason := text_of(status.get("reason")):
        return reason
    for one in objects_of(status.get("conditions")):
        if one.get("type") == "DisruptionTarget" and one.get("status") == "True":
            return _DISRUPTIONS.get(text_of(one.get("reason")), "Evicted")
    return ""


def _owner(said: object) -> Owner:
    owners = objects_of(said)
    chosen = next((one for one in owners if one.get("controller") is True), owners[0] if owners else {})
    return Owner(text_of(chosen.get("kind")), text_of(chosen.get("name")))
