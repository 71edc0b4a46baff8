"""Settings about the Kubernetes API and about which log a container's output is. Read by entry points only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from joblog.errors import InvalidInput
from joblog.settings import setting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from joblog.worker.kubernetes.api_pods import LabelSelection
    from joblog.worker.kubernetes.rules import Identity

PRESETS = ("argo", "tekton", "airflow", "arc", "gitlab", "job")
_IN_CLUSTER_VARIABLE = "KUBERNETES_SERVICE_HOST"


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """How the Kubernetes API is reached."""

    mode: str = setting(
        "auto",
        "Whether the API is asked for identity and ends of containers. auto: where there is one, in a pod or by "
        "kubernetes.api.kubeconfig. off: containers go by the names of their folders, and nobody knows how they ended.",
        choices=("auto", "on", "off"),
    )
    kubeconfig: Path | None = setting(
        None, "A file that says where the API is. Empty: the pod's own account; outside a pod the file kubectl takes."
    )
    context: str = setting("", "Its context. Empty: the current one.")
    wait_seconds: float = setting(
        60.0,
        "How long a container that is not known yet waits while the API can't be reached; then it goes by the name of "
        "its folder. Its files are held open meanwhile.",
        unit="seconds",
        low=0,
        high=86_400,
    )

    def is_on(self, environ: Mapping[str, str]) -> bool:
        """Whether the API is to be asked."""
        found = self.kubeconfig is not None or bool(environ.get(_IN_CLUSTER_VARIABLE))
        return self.mode == "on" or (self.mode == "auto" and found)


@dataclass(frozen=True, slots=True)
class IdentitySettings:
    """Which log a container's output is."""

    presets: tuple[str, ...] = setting(
        PRESETS,
        "Rules for pods that others make, in the order in which they are tried: argo (Workflows), tekton, airflow "
        "(KubernetesPodOperator, KubernetesExecutor), arc (GitHub runners), gitlab (runners), job (Kubernetes' own).",
    )
    rules: tuple[str, ...] = setting(
        (),
        "Rules of your own, tried before the presets: WHEN: run=TEMPLATE task=TEMPLATE namespace=TEMPLATE "
        'attempt=TEMPLATE, as "label:app=ci-*&container=main: run={label:ci/pipeline} task={label:ci/step|pod}".',
    )
    may_choose: tuple[str, ...] = setting(
        (),
        "Kubernetes namespaces, by globs, whose pods may send their output to any namespace by the label "
        "joblog.dev/namespace. Those of others stay in their own, or in one named OWN.ANYTHING.",
    )
    copy_labels: tuple[str, ...] = setting((), "Pod labels, by globs, that become labels of the log.")
    include_labels: tuple[str, ...] = setting(
        (), "Collect only pods with one of these labels, each KEY=GLOB. Empty: all."
    )
    exclude_labels: tuple[str, ...] = setting((), "Do not collect pods with one of these labels, each KEY=GLOB.")

    def identity(self) -> Identity:
        """The rules. Raises InvalidInput."""
        from joblog.worker.kubernetes.presets import preset
        from joblog.worker.kubernetes.rules import Identity, parse_rule

        if unknown := sorted(set(self.presets) - set(PRESETS)):
            raise InvalidInput(f"preset {unknown[0][:40]!r} is not known: known are {', '.join(PRESETS)}")
        rules = [parse_rule(text) for text in self.rules]
        return Identity(
            (*rules, *(rule for name in self.presets for rule in preset(name))), self.may_choose, self.copy_labels
        )

    def labels(self) -> LabelSelection:
        """Which pods, by labels."""
        from joblog.worker.kubernetes.api_pods import LabelSelection

        return LabelSelection(self.include_labels, self.exclude_labels)

    def problems(self, prefix: str) -> Iterator[tuple[str, str]]:
        """Rules that are none."""
        if self.rules or self.presets != PRESETS:
            try:
                self.identity()
            except InvalidInput as error:
                yield f"{prefix}.rules", f"is not allowed: {error}"
