"""Rules for what makes pods of jobs: its labels and annotations, as it documents or sets them."""

from __future__ import annotations

import re

from joblog.worker.kubernetes.rules import Rule

# A retried step's number, as Argo puts it behind a node's name; what it expands a loop to, `(0:name)`, is kept.
_RETRY = re.compile(r"\(\d+\)(?=:|\Z)")

_INDEX = "batch.kubernetes.io/job-completion-index"

# Argo names nodes by the path in the workflow, WORKFLOW.STEP; a workflow of one step has that one's name.
_ARGO_NODE = "{annotation:workflows.argoproj.io/node-name|pod}"

_DAG = "{annotation:dag_id|label:dag_id}"
_DAG_RUN = "{annotation:run_id|label:run_id|label:execution_date}"
_DAG_TASK = "{annotation:task_id|label:task_id}"
_MAP_INDEX = "{annotation:map_index|label:map_index}"


def _airflow() -> tuple[Rule, ...]:
    """The KubernetesPodOperator, and what the KubernetesExecutor starts, whose annotations have what labels cut."""
    return tuple(
        Rule(
            ((f"label:{mark}", "True"), ("container", container)),
            run=f"{_DAG}:{_DAG_RUN}",
            task=_DAG_TASK + index + more,
            labels={
                "airflow.dag": "annotation:dag_id|label:dag_id",
                "airflow.try_number": "annotation:try_number|label:try_number",
            },
        )
        for mark in ("kubernetes_pod_operator", "kubernetes_executor")
        for container, more in (("base", ""), ("*", ":{container}"))
        for index in (f":{_MAP_INDEX}", "")
    )


_PRESETS: dict[str, tuple[Rule, ...]] = {
    # https://argo-workflows.readthedocs.io: the main container is what runs the step.
    "argo": (
        Rule(
            (("label:workflows.argoproj.io/workflow", "*"), ("container", "main")),
            run="{label:workflows.argoproj.io/workflow}",
            task=_ARGO_NODE,
            strip=_RETRY,
        ),
        Rule(
            (("label:workflows.argoproj.io/workflow", "*"),),
            run="{label:workflows.argoproj.io/workflow}",
            task=_ARGO_NODE + ":{container}",
        ),
    ),
    # https://tekton.dev/docs/pipelines/labels: containers are the steps of a task.
    "tekton": (
        Rule(
            (("label:tekton.dev/taskRun", "*"),),
            run="{label:tekton.dev/pipelineRun|label:tekton.dev/taskRun}",
            task="{label:tekton.dev/pipelineTask|label:tekton.dev/task|label:tekton.dev/taskRun}:{container}",
            labels={"tekton.pipeline": "label:tekton.dev/pipeline", "tekton.task_run": "label:tekton.dev/taskRun"},
        ),
    ),
    "airflow": _airflow(),
    # GitHub's actions-runner-controller: a runner is made for one job, and named once.
    "arc": (
        Rule(
            (("label:actions.github.com/scale-set-name", "*"), ("label:actions-ephemeral-runner", "True")),
            labels={
                "github.scale_set": "label:actions.github.com/scale-set-name",
                "github.organization": "label:actions.github.com/organization",
                "github.repository": "label:actions.github.com/repository",
            },
        ),
    ),
    # GitLab's runner, Kubernetes executor: containers build, helper, svc-N.
    "gitlab": (
        Rule(
            (("annotation:job.runner.gitlab.com/id", "*"),),
            run="{label:project.runner.gitlab.com/name|annotation:project.runner.gitlab.com/id|'job'}"
            ".{annotation:job.runner.gitlab.com/id}",
            labels={
                "gitlab.job": "annotation:job.runner.gitlab.com/name",
                "gitlab.ref": "annotation:job.runner.gitlab.com/ref",
                "gitlab.sha": "annotation:job.runner.gitlab.com/sha",
                "gitlab.url": "annotation:job.runner.gitlab.com/url",
            },
        ),
    ),
    # Kubernetes' own Jobs: each index of an indexed one is a task, each pod for it an attempt.
    "job": (
        Rule(
            (("owner_kind", "Job"), (f"annotation:{_INDEX}", "*")),
            run="{label:batch.kubernetes.io/job-name|label:job-name|owner}",
            task=f"{{annotation:{_INDEX}}}:{{container}}",
        ),
        Rule(
            (("owner_kind", "Job"),),
            run="{label:batch.kubernetes.io/job-name|label:job-name|owner}",
        ),
    ),
}


def preset(name: str) -> tuple[Rule, ...]:
    """A preset's rules, in order."""
    return _PRESETS[name]
