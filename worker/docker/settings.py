"""The worker's settings about Docker's containers. Read by entry points only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from joblog.errors import InvalidInput
from joblog.settings import setting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from joblog.worker.docker.naming import Naming


@dataclass(frozen=True, slots=True)
class DockerSettings:
    """Collects the logs of this host's Docker containers."""

    enabled: bool = setting(
        False,
        "Collect the logs of all containers that Docker runs on this host, from the files of its json-file driver. "
        "Needs the extra `kubernetes` (`pip install 'joblog[kubernetes]'`).",
    )
    containers_dir: Path | None = setting(
        Path("/var/lib/docker/containers"),
        "Where dockerd keeps containers' files, as this worker sees it. Only root may read it.",
    )
    namespace: str = setting("default", "Namespace of containers that name none that they may choose.")
    may_choose: tuple[str, ...] = setting(
        (),
        "Namespaces, by globs, that containers may choose by the label joblog.dev/namespace. Images bring labels, too. "
        "They may always choose one named NAMESPACE.ANYTHING, by docker.namespace.",
    )
    rules: tuple[str, ...] = setting(
        (),
        "Rules of your own about which log a container's output is, tried before those of Compose and swarm mode: as "
        'kubernetes.identity.rules, as in "label:app=ci-*: run={label:ci/pipeline} task={label:ci/step|container}".',
    )
    include: tuple[str, ...] = setting((), "Collect only these: globs over containers' names. Empty: all.")
    exclude: tuple[str, ...] = setting((), "Do not collect these: globs over containers' names.")
    include_labels: tuple[str, ...] = setting(
        (), "Collect only containers with one of these labels, each KEY=GLOB. Empty: all."
    )
    exclude_labels: tuple[str, ...] = setting((), "Do not collect containers with one of these labels, each KEY=GLOB.")
    copy_labels: tuple[str, ...] = setting((), "Labels of containers, by globs, that become labels of the log.")

    def naming(self, host: str) -> Naming:
        """The rules. Raises InvalidInput."""
        from joblog.identity import check_name
        from joblog.worker.docker.naming import Naming
        from joblog.worker.kubernetes.api_pods import LabelSelection
        from joblog.worker.kubernetes.rules import parse_rule

        return Naming(
            check_name("namespace", self.namespace),
            [parse_rule(text) for text in self.rules],
            self.may_choose,
            self.include,
            self.exclude,
            LabelSelection(self.include_labels, self.exclude_labels),
            self.copy_labels,
            host,
        )

    def problems(self) -> Iterator[tuple[str, str]]:
        """Values that can't be."""
        if not self.enabled:
            return
        if self.containers_dir is None:
            yield "docker.containers_dir", "must be a folder"
        try:
            self.naming("")
        except InvalidInput as error:
            yield "docker", f"has what is not allowed: {error}"
