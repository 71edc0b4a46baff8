"""Whose log a container's output is: presets, own rules, what a pod says itself, and what it may not say."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joblog.errors import InvalidInput
from joblog.identity import LogName, check_labels, check_writable_name
from joblog.worker.kubernetes.pod import parse_pod
from joblog.worker.kubernetes.pods import ContainerRef
from joblog.worker.kubernetes.presets import preset
from joblog.worker.kubernetes.rules import Container, Identity, parse_rule
from joblog.worker.kubernetes.settings import PRESETS
from tests.unit.kubernetes_pods import pod_json

ALL = Identity([rule for name in PRESETS for rule in preset(name)])


def container_of(container: str = "main", restart: int = 0, **pod: Any) -> Container:
    parsed = parse_pod(pod_json(containers=(container,), **pod))
    return Container(parsed, ContainerRef(parsed.namespace, parsed.name, parsed.uid, container, restart))


INDEX = "batch.kubernetes.io/job-completion-index"


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        (container_of(), LogName("team-a", "pod-1", "main", 1)),
        (container_of(restart=4), LogName("team-a", "pod-1", "main", 5)),
        # Another pod gets the name of a pod that was not given one by its controller.
        (container_of(generated=False), LogName("team-a", "pod-1", "main", 0)),
        (
            container_of(owner=("Job", "etl"), labels={"batch.kubernetes.io/job-name": "etl"}),
            LogName("team-a", "etl", "main", 0),
        ),
        (container_of(owner=("Job", "etl"), annotations={INDEX: "7"}), LogName("team-a", "etl", "7:main", 0)),
        (
            container_of(
                labels={"workflows.argoproj.io/workflow": "wf-x2"},
                annotations={"workflows.argoproj.io/node-name": "wf-x2[0].build(0:linux)(1)"},
            ),
            LogName("team-a", "wf-x2", "wf-x2-0-.build-0:linux--1-~", 0),
        ),
        (
            container_of(
                labels={
                    "tekton.dev/pipelineRun": "pr-1",
                    "tekton.dev/taskRun": "pr-1-build",
                    "tekton.dev/pipelineTask": "build",
                },
                container="step-compile",
            ),
            LogName("team-a", "pr-1", "build:step-compile", 0),
        ),
        (
            container_of(labels={"tekton.dev/taskRun": "tr-9", "tekton.dev/task": "lint"}, container="step-run"),
            LogName("team-a", "tr-9", "lint:step-run", 0),
        ),
        (
            container_of(
                container="base",
                labels={
                    "kubernetes_pod_operator": "True",
                    "dag_id": "daily",
                    "task_id": "load",
                    "run_id": "scheduled__2026-01-01",
                    "try_number": "2",
                    "map_index": "3",
                },
            ),
            LogName("team-a", "daily:scheduled__2026-01-01", "load:3", 0),
        ),
        (
            container_of(
                container="airflow-xcom-sidecar",
                labels={"kubernetes_pod_operator": "True", "dag_id": "d", "task_id": "t", "run_id": "r"},
            ),
            LogName("team-a", "d:r", "t:airflow-xcom-sidecar", 0),
        ),
        (
            container_of(
                name="set-x7-runner-abcde",
                container="runner",
                generated=False,
                labels={"actions.github.com/scale-set-name": "set", "actions-ephemeral-runner": "True"},
            ),
            LogName("team-a", "set-x7-runner-abcde", "runner", 0),
        ),
        (
            container_of(
                container="build",
                labels={"project.runner.gitlab.com/name": "shop"},
                annotations={"job.runner.gitlab.com/id": "1234", "job.runner.gitlab.com/name": "test: [1/2]"},
            ),
            LogName("team-a", "shop.1234", "build", 0),
        ),
    ],
    ids=lambda value: str(value) if isinstance(value, LogName) else "",
)
def test_presets(container: Container, expected: LogName) -> None:
    found = ALL.name(container)
    if expected.task.endswith("~"):
        assert found.task.startswith(expected.task[:16])
        found, expected = found._replace(task=""), expected._replace(task="")
    assert found == expected


def test_retries_of_a_step_are_attempts_of_one_task() -> None:
    names = [
        ALL.name(
            container_of(
                name=f"wf-{retry}",
                labels={"workflows.argoproj.io/workflow": "wf"},
                annotations={"workflows.argoproj.io/node-name": f"wf.build({retry})"},
            )
        )
        for retry in range(3)
    ]
    assert set(names) == {LogName("team-a", "wf", "wf.build", 0)}


def test_what_a_pod_says_counts_before_rules_and_each_part_for_itself() -> None:
    labels = {"joblog.dev/run": "mine", "joblog.dev/attempt": "3"}
    found = ALL.name(container_of(owner=("Job", "etl"), labels=labels, restart=2))
    assert found == LogName("team-a", "mine", "main", 5)
    both = container_of(labels={"joblog.dev/task": "label"}, annotations={"joblog.dev/task": "annotation"})
    assert ALL.name(both).task == "annotation"
    for attempt in ("x", "0", "-1", "1.5", "9" * 30, "١"):
        assert ALL.name(container_of(annotations={"joblog.dev/attempt": attempt})).attempt == 0


def test_a_pod_can_not_write_into_the_namespace_of_others() -> None:
    def where(said: str, identity: Identity = ALL, **pod: Any) -> str:
        return identity.name(container_of(annotations={"joblog.dev/namespace": said}, **pod)).namespace

    assert where("team-b") == "team-a"
    assert where("team-a-secret") == "team-a"
    assert where("@audit") == "team-a"
    assert where("team-a.nightly") == "team-a.nightly"
    trusting = Identity(may_choose=("ci-*",))
    assert where("team-b", trusting) == "team-a"
    assert where("team-b", trusting, namespace="ci-1") == "team-b"
    # A rule's own word counts; what it takes from a pod is the pod's word.
    fixed = Identity([parse_rule("*: namespace=all run={pod}")])
    assert fixed.name(container_of()).namespace == "all"
    assert where("team-b", fixed) == "team-a"
    taking = Identity([parse_rule("*: namespace={label:to} run={pod}")])
    assert taking.name(container_of(labels={"to": "team-b"})).namespace == "team-a"


def test_own_rules() -> None:
    rule = parse_rule("namespace=team-*&label:app=ci: run={label:build|'none'}.x task={container} attempt=restart")
    identity = Identity([rule, *ALL.rules])
    labels = {"app": "ci", "build": "77"}
    assert identity.name(container_of(labels=labels, restart=1)) == LogName("team-a", "77.x", "main", 2)
    assert identity.name(container_of(labels={"app": "ci"})).run == "none.x"
    assert identity.name(container_of(labels={"app": "web"})).run == "pod-1"
    assert identity.name(container_of(labels=labels, namespace="other")).run == "pod-1"
    numbered = Identity([parse_rule("*: run={pod} attempt={label:try}")])
    assert numbered.name(container_of(labels={"try": "3"}, restart=1)).attempt == 4


@pytest.mark.parametrize(
    "text",
    [
        "",
        "run={pod}",
        "*: task={pod}",
        "*: run=",
        "*: run={nothing}",
        "*: run={pod",
        "*: run=pod}",
        "*: run={label:}",
        "*: run={pod} run={pod}",
        "*: run={pod} color=red",
        "label:x: run={pod}",
        "foo=x: run={pod}",
        "label:=x: run={pod}",
    ],
)
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_rule(text)


def test_labels_of_the_log_say_which_container_it_was() -> None:
    pod = pod_json(labels={"app.kubernetes.io/name": "shop", "team": "x", "odd": "a\nb"}, owner=("Job", "etl"))
    pod["spec"]["containers"][0]["resources"] = {"limits": {"memory": "512Mi"}}
    parsed = parse_pod(pod)
    labels = Identity(copy_labels=("app.*", "odd")).labels(Container(parsed, parsed.ref("main")))
    assert labels["kubernetes.memory_limit_bytes"] == str(512 << 20)
    assert labels["kubernetes.owner"] == "Job/etl"
    assert labels["kubernetes.node"] == "node-1"
    assert labels["odd"] == "a?b"
    (name,) = (key for key in labels if key.startswith("app."))
    assert labels[name] == "shop"
    assert "team" not in labels
    check_labels(labels)


TEXTS = st.text(max_size=300)


@given(st.dictionaries(TEXTS, TEXTS, max_size=100), TEXTS, TEXTS, st.integers(0, 2**40))
def test_whatever_a_pod_says_its_log_has_an_allowed_name(
    said: dict[str, str], run: str, space: str, restart: int
) -> None:
    own = {"joblog.dev/run": run, "joblog.dev/task": run[::-1], "joblog.dev/namespace": space}
    pod = parse_pod(pod_json(labels=said, annotations={**said, **own}))
    container = Container(pod, ContainerRef("team-a", "pod-1", "u", "main", restart))
    identity = Identity(ALL.rules, may_choose=("*",), copy_labels=("*",))
    check_writable_name(identity.name(container))
    check_labels(identity.labels(container))


@given(st.text(min_size=1), st.text(min_size=1))
def test_two_runs_never_become_one(one: str, other: str) -> None:
    names = [ALL.name(container_of(annotations={"joblog.dev/run": run})).run for run in (one, other)]
    assert (names[0] == names[1]) == (one == other)
