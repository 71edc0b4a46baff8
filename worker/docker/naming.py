"""Which log a container's output is: the same rules and the same labels as for pods. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from joblog.worker.docker.container import DockerContainer
from joblog.worker.kubernetes.api_pods import LabelSelection, cut_command
from joblog.worker.kubernetes.pod import Pod
from joblog.worker.kubernetes.pods import ContainerRef, Excluded, LogTarget, allowed_name
from joblog.worker.kubernetes.rules import MAX_COPIED_LABELS, OWN_PREFIX, Container, Identity, Rule, shown

_ALL = LabelSelection()
_PROJECT, _SERVICE = "label:com.docker.compose.project", "label:com.docker.compose.service"
_NUMBER, _ONE_OFF = "label:com.docker.compose.container-number", "label:com.docker.compose.oneoff"
_SWARM_TASK = "label:com.docker.swarm.task.name"
# A swarm's task is named SERVICE.SLOT.ID: each that takes a slot is an attempt of it.
_TASK_ID = re.compile(r"\.[0-9a-z]{25}\Z")

# What Compose and swarm mode say about the containers that they make.
RULES = (
    Rule(((_ONE_OFF, "True"),), run=f"{{{_PROJECT}|container}}"),
    Rule(((_SERVICE, "*"), (_NUMBER, "1")), run=f"{{{_PROJECT}|container}}", task=f"{{{_SERVICE}}}"),
    Rule(((_SERVICE, "*"), (_NUMBER, "*")), run=f"{{{_PROJECT}|container}}", task=f"{{{_SERVICE}}}-{{{_NUMBER}}}"),
    Rule(((_SERVICE, "*"),), run=f"{{{_PROJECT}|container}}", task=f"{{{_SERVICE}}}"),
    Rule(
        ((_SWARM_TASK, "*"),),
        run="{label:com.docker.stack.namespace|label:com.docker.swarm.service.name|container}",
        task=f"{{{_SWARM_TASK}}}",
        strip=_TASK_ID,
    ),
)


@dataclass(frozen=True, slots=True)
class Naming:
    """namespace: of what says no other one. rules: of one's own, tried before those of Compose and swarm mode.

    may_choose: namespaces, by globs, that containers may choose. include, exclude: globs over containers' names.
    copy_labels: see Identity.
    """

    namespace: str
    rules: Sequence[Rule] = ()
    may_choose: Sequence[str] = ()
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    labels: LabelSelection = _ALL
    copy_labels: Sequence[str] = ()
    host: str = ""

    def target(self, container: DockerContainer, run_ns: int, restarts: int) -> LogTarget | Excluded:
        """Where a run's output goes; its attempt is the next free one, where nobody says another."""
        pod = Pod(self.namespace, container.name, container.id, node=self.host, labels=container.labels)
        if reason := self._excluded(container, pod):
            return Excluded(reason)
        ref = ContainerRef(self.namespace, container.name, container.id, container.name, restarts)
        name = Identity((*self.rules, *RULES)).name(Container(pod, ref))
        said = container.labels.get(f"{OWN_PREFIX}namespace", "")
        if said and any(fnmatchcase(said, glob) for glob in self.may_choose):
            name = name._replace(namespace=allowed_name(said))
        command = cut_command(container.command)
        return LogTarget(name, self._labels_of(container, restarts), command, self.host, run_ns)

    def _excluded(self, container: DockerContainer, pod: Pod) -> str:
        for glob in self.exclude:
            if fnmatchcase(container.name, glob):
                return f"excluded by {glob}"
        if self.include and not any(fnmatchcase(container.name, glob) for glob in self.include):
            return "not among those included"
        return self.labels.excluded(pod)

    def _labels_of(self, container: DockerContainer, restarts: int) -> dict[str, str]:
        memory = container.memory_limit_bytes
        found = {
            "docker.id": container.id,
            "docker.name": container.name,
            "docker.image": container.image,
            "docker.restart": str(restarts),
            "docker.memory_limit_bytes": str(memory) if memory else "",
        }
        copied = [key for key in sorted(container.labels) if any(fnmatchcase(key, glob) for glob in self.copy_labels)]
        found |= {allowed_name(key): container.labels[key] for key in copied[:MAX_COPIED_LABELS]}
        return {label: shown(value) for label, value in found.items() if value}
