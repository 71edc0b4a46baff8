"""Which log a container's output is: rules over what is known of its pod. Pure.

A rule is a text, `WHEN: run=TEMPLATE task=TEMPLATE ...`. WHEN is conditions with & between them, all of which must
hold: `label:KEY=GLOB`, `annotation:KEY=GLOB`, `namespace=GLOB`, `container=GLOB`, `owner_kind=GLOB`, ...; `*` is
always true. A template is text with `{source}` or `{source|source|'text'}` in it: the first source that has a value. A
rule of which a template has a source without any does not hold.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from joblog.errors import InvalidInput
from joblog.identity import MAX_ATTEMPT, MAX_LABEL_VALUE_LENGTH, LogName
from joblog.worker.kubernetes.pod import Pod
from joblog.worker.kubernetes.pods import ContainerRef, allowed_name

# A pod says itself where its output goes.
OWN_PREFIX = "joblog.dev/"
_PARTS = ("namespace", "run", "task")
_FIELDS = (*_PARTS, "attempt")
_SOURCES = frozenset({"namespace", "pod", "container", "restart", "uid", "node", "owner", "owner_kind"})
_PLACE = re.compile(r"\{([^{}]*)\}")
_NEXT, _RESTART = "next", "restart"
# Of joblog's 64 labels of a log.
MAX_COPIED_LABELS = 40


@dataclass(frozen=True, slots=True)
class Container:
    """A run of a container, with the pod as the API has it."""

    pod: Pod
    ref: ContainerRef

    def value(self, source: str) -> str:
        """What a source says of it; empty for nothing."""
        kind, colon, key = source.partition(":")
        if colon:
            return (self.pod.labels if kind == "label" else self.pod.annotations).get(key, "")
        values = {
            "namespace": self.ref.namespace,
            "pod": self.ref.pod,
            "container": self.ref.container,
            "restart": str(self.ref.restart),
            "uid": self.ref.uid,
            "node": self.pod.node,
            "owner": self.pod.owner.name,
            "owner_kind": self.pod.owner.kind,
        }
        return values[source]


def check_source(text: str) -> str:
    """Returns a source when it is one; raises InvalidInput."""
    kind, colon, key = text.partition(":")
    if text in _SOURCES or (colon and key and kind in ("label", "annotation")):
        return text
    known = ", ".join(sorted(_SOURCES))
    raise InvalidInput(f"{text[:60]!r} is no source: known are label:KEY, annotation:KEY, {known}")


@dataclass(frozen=True, slots=True)
class Template:
    """Text with places in it; each place has sources, or a text in quotes, of which the first with a value counts."""

    text: str

    def __post_init__(self) -> None:
        """Raises InvalidInput."""
        if not self.text:
            raise InvalidInput("a template is empty")
        for place in _PLACE.findall(self.text):
            for source in place.split("|"):
                if not _quoted(source):
                    check_source(source)
        if "{" in _PLACE.sub("", self.text) or "}" in _PLACE.sub("", self.text):
            raise InvalidInput(f"{self.text[:60]!r}: a brace has no partner")

    def fill(self, container: Container) -> str | None:
        """The text; None where a place has no value."""
        missing = False

        def value(match: re.Match[str]) -> str:
            nonlocal missing
            for source in match[1].split("|"):
                found = source[1:-1] if _quoted(source) else container.value(source)
                if found:
                    return found
            missing = True
            return ""

        text = _PLACE.sub(value, self.text)
        return None if missing else text


def _quoted(source: str) -> bool:
    return len(source) >= 2 and source[0] == source[-1] == "'"


@dataclass(frozen=True, slots=True)
class Rule:
    """conditions: (source, glob); all must hold. attempt: `restart` (its count and 1), `next` (the next free one), or a
    template of a number, to which the count of restarts is added. labels: of the log. strip: taken off the task's end.
    """

    conditions: Sequence[tuple[str, str]] = ()
    namespace: str = "{namespace}"
    run: str = "{pod}"
    task: str = "{container}"
    attempt: str = _NEXT
    labels: Mapping[str, str] = field(default_factory=dict)
    strip: re.Pattern[str] | None = None

    @property
    def takes_namespace(self) -> bool:
        """Whether the pod has a say in the namespace."""
        return "label:" in self.namespace or "annotation:" in self.namespace

    def name(self, container: Container) -> LogName | None:
        """The log's name, with names as they are said; None where the rule does not hold."""
        if not all(_holds(container.value(source), glob) for source, glob in self.conditions):
            return None
        parts = [Template(getattr(self, part)).fill(container) for part in _PARTS]
        if any(not part for part in parts):
            return None
        namespace, run, task = (part or "" for part in parts)
        if self.strip is not None:
            task = self.strip.sub("", task) or task
        return LogName(namespace, run, task, self._attempt(container))

    def _attempt(self, container: Container) -> int:
        if self.attempt == _NEXT:
            return 0
        if self.attempt == _RESTART:
            return min(container.ref.restart + 1, MAX_ATTEMPT)
        return attempt_from(Template(self.attempt).fill(container) or "", container.ref.restart)


def attempt_from(text: str, restart: int) -> int:
    """A number that somebody gave, and the restarts behind it; 0, the next free one, for what is none."""
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text) >= 1):
        return 0
    return min(int(text) + restart, MAX_ATTEMPT)


def _holds(value: str, glob: str) -> bool:
    return bool(value) and fnmatchcase(value, glob)


def parse_rule(text: str) -> Rule:
    """A rule from a setting. Raises InvalidInput."""
    when, colon, says = text.partition(": ")
    if not colon:
        raise InvalidInput(f"{text[:80]!r} is no rule: write WHEN: run=... task=..., as `label:app=ci: run={{pod}}`")
    conditions = []
    for condition in when.split("&"):
        if condition.strip() == "*":
            continue
        source, equals, glob = condition.strip().partition("=")
        if not equals or not glob:
            raise InvalidInput(f"{condition[:60]!r} in {text[:60]!r} is no condition: write SOURCE=GLOB")
        conditions.append((check_source(source), glob))
    given: dict[str, str] = {}
    for word in says.split():
        name, equals, template = word.partition("=")
        if name not in _FIELDS or not equals or name in given:
            raise InvalidInput(f"{word[:60]!r} in {text[:60]!r}: say namespace=, run=, task= or attempt=, each once")
        if name != "attempt" or template not in (_NEXT, _RESTART):
            Template(template)
        given[name] = template
    if "run" not in given:
        raise InvalidInput(f"{text[:80]!r} says no run")
    return Rule(tuple(conditions), **given)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Identity:
    """rules: the first that holds counts.

    may_choose: Kubernetes namespaces, by globs, whose pods may send their output to any namespace of joblog; others
    only to their own, and to those that are named OWN.ANYTHING. copy_labels: globs of pod labels that the log gets too.
    """

    rules: Sequence[Rule] = ()
    may_choose: Sequence[str] = ()
    copy_labels: Sequence[str] = ()

    def name(self, container: Container) -> LogName:
        """The log's name; always one that joblog allows."""
        rule, found = self._rule(container)
        name = self._said(container, found)
        # What a rule says by itself is the word of who runs the agent, what it takes from a pod is not.
        own = rule is not None and not rule.takes_namespace and name.namespace == found.namespace
        if not own and not self._may_write(container.ref.namespace, name.namespace):
            name = name._replace(namespace=container.ref.namespace)
        return LogName(allowed_name(name.namespace), allowed_name(name.run), allowed_name(name.task), name.attempt)

    def _rule(self, container: Container) -> tuple[Rule | None, LogName]:
        for rule in self.rules:
            if (name := rule.name(container)) is not None:
                return rule, name
        return None, _default(container)

    def _said(self, container: Container, name: LogName) -> LogName:
        """What the pod itself says counts before all rules, each part for itself."""
        namespace, run, task, attempt = (self._own(container.pod, part) for part in _FIELDS)
        name = LogName(namespace or name.namespace, run or name.run, task or name.task, name.attempt)
        return name._replace(attempt=attempt_from(attempt, container.ref.restart)) if attempt else name

    @staticmethod
    def _own(pod: Pod, part: str) -> str:
        return pod.annotations.get(OWN_PREFIX + part) or pod.labels.get(OWN_PREFIX + part, "")

    def _may_write(self, own: str, namespace: str) -> bool:
        # No namespace of Kubernetes has a dot in its name: what begins with OWN. is nobody else's.
        if namespace == own or namespace.startswith(f"{own}."):
            return True
        return any(fnmatchcase(own, glob) for glob in self.may_choose)

    def labels(self, container: Container) -> dict[str, str]:
        """The log's labels."""
        ref, pod = container.ref, container.pod
        spec = pod.containers.get(ref.container)
        found = {
            "kubernetes.namespace": ref.namespace,
            "kubernetes.pod": ref.pod,
            "kubernetes.uid": ref.uid,
            "kubernetes.container": ref.container,
            "kubernetes.restart": str(ref.restart),
            "kubernetes.node": pod.node,
            "kubernetes.owner": f"{pod.owner.kind}/{pod.owner.name}" if pod.owner.kind else "",
            "kubernetes.memory_limit_bytes": str(spec.memory_limit_bytes) if spec and spec.memory_limit_bytes else "",
        }
        rule, _ = self._rule(container)
        for label, source in (rule.labels if rule is not None else {}).items():
            found[label] = Template(f"{{{source}}}").fill(container) or ""
        copied = (key for key in sorted(pod.labels) if any(fnmatchcase(key, glob) for glob in self.copy_labels))
        for key, _ in zip(copied, range(MAX_COPIED_LABELS), strict=False):
            found[allowed_name(key)] = pod.labels[key]
        return {label: shown(value) for label, value in found.items() if value}


def shown(value: str) -> str:
    """A text as a label's value may be."""
    return "".join(c if c.isprintable() else "?" for c in value)[:MAX_LABEL_VALUE_LENGTH]


def _default(container: Container) -> LogName:
    """Namespace, pod, container, and restart + 1, or the next free attempt where another pod may get the same name."""
    ref = container.ref
    attempt = min(ref.restart + 1, MAX_ATTEMPT) if container.pod.generated else 0
    return LogName(ref.namespace, ref.pod, ref.container, attempt)
