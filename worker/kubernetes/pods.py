"""What is known of the containers whose files lie on this node: identity of their logs, and how they ended.

`Pods` is the seam between what follows files, which knows folders and bytes only, and what talks to Kubernetes.
`WithoutApi` is all of it where there is no API to ask.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import NamedTuple, Protocol

from joblog.identity import MAX_ATTEMPT, MAX_NAME_LENGTH, LogName

_NOT_ALLOWED = re.compile(r"[^A-Za-z0-9._\-:+=~]")
_DIGEST_DIGITS = 8


class ContainerRef(NamedTuple):
    """One run of one container, as the kubelet names its folder and file.

    uid: of the pod; of a static pod what the kubelet took for it. restart: from 0.
    """

    namespace: str
    pod: str
    uid: str
    container: str
    restart: int

    def __str__(self) -> str:
        return f"{self.namespace}/{self.pod}/{self.container}/{self.restart}"


@dataclass(frozen=True, slots=True)
class LogTarget:
    """Where a container's output goes, for its whole life: asked for once, and kept over restarts of the worker.

    name: its attempt may be 0, for the next free one. started_ns: when the container started; 0: not known.
    """

    name: LogName
    labels: Mapping[str, str] = field(default_factory=dict)
    command: Sequence[str] = ()
    host: str = ""
    started_ns: int = 0


@dataclass(frozen=True, slots=True)
class Excluded:
    """Its output is not collected; the files are left alone. reason: for the worker's own log."""

    reason: str


@dataclass(frozen=True, slots=True)
class NotYet:
    """Not known yet: ask again after so many seconds. Its files are held open meanwhile, and not read."""

    seconds: float


@dataclass(frozen=True, slots=True)
class ContainerEnd:
    """How a container ended. exit_code: None where not known; signal: 0 for none.

    reason: the word Kubernetes has for it (Completed, Error, OOMKilled, Evicted, DeadlineExceeded, ...); empty: none.
    Times in ns since 1970, 0: not known.
    """

    exit_code: int | None = None
    signal: int = 0
    reason: str = ""
    message: str = ""
    started_ns: int = 0
    ended_ns: int = 0

    @property
    def oom_killed(self) -> bool:
        """Whether it was killed because memory ran out."""
        return self.reason == "OOMKilled"


class Pods(Protocol):
    """Answers for the containers of this node. Must not raise for lack of knowledge: it says so in its answers."""

    async def target(self, ref: ContainerRef) -> LogTarget | Excluded | NotYet:
        """Where the output goes. Asked until it is known, and then no more."""

    async def ended(self, ref: ContainerRef) -> ContainerEnd | None:
        """How the container ended; None: it has not, or that is not known (yet). Asked about once a second."""

    async def alive(self, ref: ContainerRef) -> bool | None:
        """Whether it runs now; None: not known. What runs is never taken for ended because it is quiet."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Whose output is collected. Globs over `namespace` or `namespace/container`; empty include: all."""

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()

    def excluded(self, ref: ContainerRef) -> str:
        """Why it is not collected; empty when it is."""
        for pattern in self.exclude:
            if _matches(pattern, ref):
                return f"excluded by {pattern}"
        if self.include and not any(_matches(pattern, ref) for pattern in self.include):
            return "not among those included"
        return ""


def _matches(pattern: str, ref: ContainerRef) -> bool:
    namespace, slash, container = pattern.partition("/")
    return fnmatchcase(ref.namespace, namespace) and (not slash or fnmatchcase(ref.container, container))


class WithoutApi:
    """Kubernetes namespace, pod, container and restart + 1 are namespace, run, task and attempt; ends are not known."""

    def __init__(self, selection: Selection | None = None, *, host: str = "") -> None:
        self._selection = selection or Selection()
        self._host = host

    async def target(self, ref: ContainerRef) -> LogTarget | Excluded | NotYet:
        reason = self._selection.excluded(ref)
        if reason:
            return Excluded(reason)
        return LogTarget(name_of(ref), host=self._host)

    async def ended(self, ref: ContainerRef) -> ContainerEnd | None:  # noqa: ARG002
        return None

    async def alive(self, ref: ContainerRef) -> bool | None:  # noqa: ARG002
        return None


def name_of(ref: ContainerRef) -> LogName:
    """The log's name where no rule gives another."""
    return LogName(
        allowed_name(ref.namespace),
        allowed_name(ref.pod),
        allowed_name(ref.container),
        min(ref.restart + 1, MAX_ATTEMPT),
    )


def allowed_name(text: str) -> str:
    """`text` as a name that joblog allows: itself where it is one, else one that no other text gets."""
    name = _NOT_ALLOWED.sub("-", text)
    if name.startswith("."):
        name = "-" + name[1:]
    if name == text and 0 < len(name) <= MAX_NAME_LENGTH:
        return name
    digest = hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:_DIGEST_DIGITS]
    return f"{name[: MAX_NAME_LENGTH - _DIGEST_DIGITS - 1]}~{digest}"
